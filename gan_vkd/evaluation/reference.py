"""The reference: features of real images, computed from the images or read from a file."""

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gan_vkd.data.arrays import array_keys
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import balanced_draw
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.content import content_sha256, digests
from gan_vkd.evaluation.features import Extractor, extract
from gan_vkd.evaluation.frechet import Gaussian, moments
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter

FORMAT = "gan_vkd-statistics-1"
DIGEST = 16  # bytes


@dataclass(frozen=True)
class Reference:
    """Real images as metrics see them, N of them.

    Attributes:
        origin: where they come from, in words.
        extractor: the name of the network that computed the features.
        extractor_sha256: of its weights and of how images are fed to it.
        content_sha256: of the images.
        image_size: their side, pixels.
        labels: int64 [N], indices into `class_names`.
        class_names: one name per class.
        digests: one of each image, equal where images are.
        features: float32 [N, d]; None where only mean and covariance are known.
        known_moments: mean [d] and covariance [d, d], float64; None: computed from the features.
        from_file: whether the images themselves are not at hand.
    """

    origin: str
    extractor: str
    extractor_sha256: str
    content_sha256: str
    image_size: int
    labels: torch.Tensor
    class_names: tuple[str, ...]
    digests: list[bytes]
    features: torch.Tensor | None
    known_moments: tuple[np.ndarray, np.ndarray] | None = None
    from_file: bool = False

    @classmethod
    def of(
        cls, images: ImageSet, origin: str, extractor: Extractor, reporter: Reporter
    ) -> "Reference":
        """Of images with three channels, on the CPU."""
        return cls(
            origin,
            extractor.name,
            extractor.sha256,
            content_sha256(images.images),
            images.images.shape[-1],
            images.labels,
            images.class_names,
            digests(images.images),
            extract(extractor, images.images, "reference images", reporter).features,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> torch.Tensor:
        """int64 [classes]: the number of images of each class."""
        return torch.bincount(self.labels, minlength=len(self.class_names))

    @cached_property
    def gaussian(self) -> Gaussian:
        """The Gaussian fitted to the features."""
        if self.features is not None:
            return Gaussian.of_features(self.features.numpy())
        return Gaussian.of_moments(*self.known_moments)

    def draw(self, count: int, seed: int) -> torch.Tensor:
        """The numbers of `count` images in the classes' proportions: int64 [count], ascending."""
        return balanced_draw(self.labels, count, seed)


def save_statistics(reference: Reference, path: Path, *, with_features: bool) -> None:
    """Write a reference to a .npz, from which `read_statistics` makes the same metrics.

    `mu` and `sigma` are called as in pytorch-fid's files.

    Args:
        reference: with features.
        path: ends in .npz.
        with_features: False leaves the features out; then only FID and IS can be computed.
    """
    mean, covariance = moments(reference.features.numpy())
    arrays = {
        "format": FORMAT,
        "origin": reference.origin,
        "extractor": reference.extractor,
        "extractor_sha256": reference.extractor_sha256,
        "content_sha256": reference.content_sha256,
        "image_size": reference.image_size,
        "count": len(reference),
        "mu": mean,
        "sigma": covariance,
        "labels": reference.labels.numpy(),
        "class_names": np.array(reference.class_names),
        "digests": np.frombuffer(b"".join(reference.digests), np.uint8).reshape(-1, DIGEST),
    }
    if with_features:
        arrays["features"] = reference.features.numpy()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def holds_statistics(path: Path) -> bool:
    """Whether a file is a .npz of statistics, by the names of its arrays."""
    try:
        return {"format", "mu", "sigma"} <= array_keys(path)
    except (OSError, zipfile.BadZipFile):  # whoever reads it says so
        return False


def read_statistics(path: Path, extractor: Extractor) -> Reference:
    """A reference that `save_statistics` wrote.

    Raises:
        GanVkdError: a damaged file, or statistics of another extractor.
    """
    where = f"--reference {path}"
    try:
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
        reference = _checked(found)
    except Exception as error:  # NumPy's readers raise whatever they trip over
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(
            f"{where}: damaged statistics ({reason}): make them again with --save-stats"
        ) from None
    if reference.extractor != extractor.name:
        raise GanVkdError(
            f"{where}: statistics of {reference.extractor}, not of {extractor.name}: pass "
            f"--extractor {reference.extractor}, or make them again with --save-stats"
        )
    if reference.extractor_sha256 != extractor.sha256:
        raise GanVkdError(
            f"{where}: statistics of {extractor.name} with other weights: make them again with "
            "--save-stats"
        )
    return reference


def _checked(found: dict[str, np.ndarray]) -> Reference:
    """Raises anything where the arrays do not fit each other."""
    if str(found["format"]) != FORMAT:
        raise ValueError(f"their format is not {FORMAT}")
    labels, names = found["labels"].astype(np.int64), tuple(map(str, found["class_names"].tolist()))
    mean, covariance = found["mu"], found["sigma"]
    count, dim = int(found["count"]), len(mean)
    features = found.get("features")
    shapes = {"labels": (count,), "digests": (count, DIGEST), "sigma": (dim, dim)}
    shapes |= {} if features is None else {"features": (count, dim)}
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} have shape {found[name].shape}, not {shape}")
    numbers = [mean, covariance, *([] if features is None else [features])]
    if not all(np.isfinite(array).all() for array in numbers):
        raise ValueError("numbers that are not finite")
    if count < 2 or not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError("labels of no class")
    known = "statistics" if features is not None else "mean and covariance"
    return Reference(
        origin=f"{known} of {found['origin']}",
        extractor=str(found["extractor"]),
        extractor_sha256=str(found["extractor_sha256"]),
        content_sha256=str(found["content_sha256"]),
        image_size=int(found["image_size"]),
        labels=torch.from_numpy(labels),
        class_names=names,
        digests=[row.tobytes() for row in found["digests"]],
        features=None if features is None else torch.from_numpy(features.astype(np.float32)),
        known_moments=(mean.astype(np.float64), covariance.astype(np.float64)),
        from_file=True,
    )
