"""Feature extractors, and features of image sets: one pass, kept by content."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F

from gan_vkd import __version__, processes
from gan_vkd.data.images import rgb, to_float
from gan_vkd.distill.small_resnet import load_classifier
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.content import content_sha256
from gan_vkd.evaluation.kept import Tensors, kept
from gan_vkd.progress import Reporter

BUNDLED = "bundled-2"  # of the evaluators that ship, the one used by default
INCEPTION = "inception"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
SHORT = {"dinov2": ("timm:vit_large_patch14_dinov2.lvd142m", 224)}  # a teacher, and its pixels
BATCH = 128


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features and class scores.

    Attributes:
        name: printed with every figure.
        sha256: of its weights and of how images are fed to it.
        device: where it runs, and distances between features are computed.
        run: uint8 [B, 3, H, W] on any device → features [B, d] and, where it is a classifier, its
            scores [B, classes].
        libraries: the packages whose code it runs, beside this one and torch.
    """

    name: str
    sha256: str
    device: torch.device
    run: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Features:
    """Features float32 [N, d] and logits float32 [N, classes] of images."""

    features: torch.Tensor
    logits: torch.Tensor | None = None

    def __getitem__(self, rows: torch.Tensor) -> "Features":
        """Those of the images at `rows` (int64 [M])."""
        return Features(self.features[rows], None if self.logits is None else self.logits[rows])


def load_extractor(spec: str | None, weights: Path | None, device: torch.device) -> Extractor:
    """Load an extractor.

    Args:
        spec: `inception` (torch-fidelity's), one of `bundled_names()`, a short name of `SHORT`, a
            teacher's spec such as `clip` (both without class scores), or None: Inception where
            its weights are at hand, else `BUNDLED`.
        weights: a file of weights: of Inception, whose default is where torch-fidelity itself
            would put them, or of a teacher.
        device: where to run it.

    Raises:
        GanVkdError: an unknown spec; weights missing or damaged.
    """
    place = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if weights is not None and not weights.is_file():
        raise GanVkdError(f"--extractor-weights {weights}: no such file")
    if spec in bundled_names():
        if weights is not None:
            raise GanVkdError(f"--extractor-weights contradicts --extractor {spec}: drop one")
        return _bundled(spec, device)
    if spec not in (None, INCEPTION):
        return _teacher(spec, weights, device)
    if spec == INCEPTION and weights is None and not place.is_file():
        raise GanVkdError(
            f"--extractor {INCEPTION}: its weights are missing at {place}: put {INCEPTION_FILE} of "
            f"torch-fidelity's release v0.2.0 there, or use --extractor {BUNDLED}"
        )
    if spec == INCEPTION or weights is not None or (spec is None and place.is_file()):
        return _inception(weights or place, device)
    return _bundled(BUNDLED, device)


def bundled_names() -> tuple[str, ...]:
    """The evaluators that ship in the package, in order of age."""
    folder = bundled_path(BUNDLED).parent
    return tuple(sorted(path.stem for path in folder.glob("bundled-*.safetensors")))


def bundled_path(name: str) -> Path:
    """The weights of an evaluator that ships in the package."""
    return Path(str(files("gan_vkd").joinpath("evaluation", f"{name}.safetensors")))


def _bundled(name: str, device: torch.device) -> Extractor:
    path = bundled_path(name)
    model = load_classifier(path).to(device, memory_format=torch.channels_last)
    size = (model.image_size, model.image_size)

    def run(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = to_float(images.to(device))
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        features = model.features(images.contiguous(memory_format=torch.channels_last))
        return features, model.head(features)

    return Extractor(name, _sha256(path), device, run)


def _inception(path: Path, device: torch.device) -> Extractor:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        torch.load(path, weights_only=True)  # torch-fidelity would run code in it: look first
        network = FeatureExtractorInceptionV3(
            INCEPTION, ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
    except Exception as error:  # torch.load has no common class for broken files
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(f"{path}: not torch-fidelity's Inception weights ({reason})") from None
    network.to(device)
    return Extractor(
        INCEPTION,
        _sha256(path),
        device,
        lambda images: network(images.to(device)),
        ("torch-fidelity",),
    )


def _teacher(spec: str, weights: Path | None, device: torch.device) -> Extractor:
    from gan_vkd.distill.teachers import load_teacher, teacher_kind

    network, size = SHORT.get(spec, (spec, None))
    try:
        teacher_kind(network)
    except GanVkdError:
        raise GanVkdError(
            f"--extractor {spec}: unknown: {', '.join((INCEPTION, *bundled_names(), *SHORT))}, or "
            "a teacher of gan-vkd teacher list"
        ) from None
    try:
        teacher = load_teacher(network, size, weights)
    except GanVkdError as error:  # the flags have the same endings
        raise GanVkdError(str(error).replace("--teacher", "--extractor")) from None
    digest = hashlib.sha256(f"{teacher.image_size}".encode())
    for name, tensor in (*teacher.named_buffers(), *teacher.network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    teacher.to(device)
    return Extractor(
        spec,
        digest.hexdigest(),
        device,
        lambda images: (teacher(to_float(images.to(device))), None),
        ("torchvision", "timm"),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def extract(extractor: Extractor, images: torch.Tensor, what: str, reporter: Reporter) -> Features:
    """The features of uint8 images [N, C, H, W], from the cache where they were computed before.

    The key is all that features depend on: the content of the images, the extractor's weights, the
    kind of device, the precision of its products, and the versions of the libraries. A damaged
    entry is computed again.

    Args:
        extractor: what to run.
        images: on the CPU.
        what: names the images on the progress bar.
        reporter: told about it.

    Raises:
        GanVkdError: features that are not finite.
    """
    key = {
        "extractor": (extractor.name, extractor.sha256),
        "images": (content_sha256(images), tuple(images.shape)),
        "computed": _circumstances(extractor),
    }

    def compute() -> Tensors:
        found = run_extractor(extractor, images, what, reporter)
        if not torch.isfinite(found.features).all():
            raise GanVkdError(
                f"--extractor {extractor.name}: its features of {what} are not finite"
            )
        return {name: tensor for name, tensor in vars(found).items() if tensor is not None}

    def whole(found: Tensors) -> bool:
        return len(Features(**found).features) == len(images)

    return Features(**kept("features", key, compute, reporter, whole))


def _circumstances(extractor: Extractor) -> dict:
    """Conditions, other than weights and images, that change features or their last bits."""
    kind = extractor.device.type
    return {
        "device": kind,
        "precision": _float32_precision(),
        "autocast": torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind),
        "versions": [
            ("gan_vkd", __version__),
            *((name, version(name)) for name in ("torch", *extractor.libraries)),
        ],
    }


def _float32_precision() -> list[str | bool]:
    """The precision of float32 matrix products and convolutions, here and on a GPU."""
    if not hasattr(torch.backends.cudnn, "conv"):  # torch before 2.9
        return [torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32]
    gpu, cpu = torch.backends.cudnn, torch.backends.mkldnn
    return [
        part.fp32_precision for part in (torch.backends.cuda.matmul, gpu.conv, cpu.matmul, cpu.conv)
    ]


@torch.no_grad()
def run_extractor(
    extractor: Extractor, images: torch.Tensor, what: str, reporter: Reporter
) -> Features:
    """The features of uint8 images [N, C, H, W], without the cache.

    Several processes take a part of the images each, if there is one for each.
    """
    shared = len(images) >= processes.size()
    parts = (images[processes.own_part(len(images))] if shared else images).split(BATCH)
    features, logits = [], []
    for part in reporter.track(parts, f"{extractor.name} on {what}", len(parts)):
        found, scores = extractor.run(rgb(part))
        features.append(found.float().cpu())
        if scores is not None:
            logits.append(scores.float().cpu())
    found = [torch.cat(rows) if rows else None for rows in (features, logits)]
    if shared:
        found = [rows if rows is None else processes.whole(rows, len(images)) for rows in found]
    return Features(*found)
