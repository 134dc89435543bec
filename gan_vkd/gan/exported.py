"""The generator as it is handed out: one file, all that sampling needs.

`generator.safetensors` holds the averaged weights with spectral norm folded in and batch-norm
statistics estimated for those weights; its header holds the shape and the class names.
"""

import contextlib
import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gan_vkd import processes
from gan_vkd.config.layers import read_config
from gan_vkd.config.sizes import SIZES, generator_sides
from gan_vkd.data.images import to_uint8
from gan_vkd.data.subsets import proportional_counts
from gan_vkd.device import to_float64
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.latents import latents, whole_number
from gan_vkd.gan.networks.biggan import Generator
from gan_vkd.randomness import generator
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

FORMAT = "gan_vkd-generator-1"
FILE_NAME = "generator.safetensors"
STATISTICS_BATCHES, STATISTICS_BATCH = 32, 64


@dataclass
class ExportedGenerator:
    """A trained generator that draws images.

    Attributes:
        network: in eval mode, without spectral norm.
        class_names: one per class.
        class_counts: training images of each class.
        card: its origin: `dataset`, `iteration`, and `balance` (of `data.balance`).
    """

    network: Generator
    class_names: tuple[str, ...]
    class_counts: torch.Tensor
    card: dict[str, str]

    @property
    def balanced(self) -> bool:
        """Whether it was trained on all classes equally often (`data.balance`)."""
        return self.card.get("balance") == "classes"

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.network.shape["image_size"]

    def to(self, device: torch.device) -> "ExportedGenerator":
        """Move the network; returns self."""
        self.network.to(device)
        return self

    def labels(
        self, count: int, seed: int = 0, proportions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """int64 [count], ascending, in the proportions of training.

        These are the training data's, or, of a generator that is `balanced`, equal ones.

        Args:
            count: number of labels.
            seed: draws which classes get one, where there are fewer labels than classes.
            proportions: others, int64 [classes].
        """
        if proportions is None:
            proportions = shares_of(self.class_counts, self.card)
        shares = proportional_counts(proportions, count, seed)
        return torch.arange(len(shares)).repeat_interleave(shares)

    def class_indices(self, classes: int | str | Iterable[int | str]) -> list[int]:
        """The indices of one class or several.

        Text is a class name or, if no class has that name, a number. Integers of any type are
        numbers, from 0 on.

        Raises:
            GanVkdError: a class it does not have.
        """
        one = isinstance(classes, str) or not isinstance(classes, Iterable)
        one = one or getattr(classes, "ndim", 1) == 0  # an array's single value
        return [self._class_index(each) for each in ([classes] if one else classes)]

    def _class_index(self, wanted: int | str) -> int:
        names, index = self.class_names, -1
        if not isinstance(wanted, str):
            with contextlib.suppress(TypeError):
                index = operator.index(wanted)
        elif wanted in names:
            index = names.index(wanted)
        elif wanted.isdecimal() and len(wanted) < 10:
            index = int(wanted)
        if not 0 <= index < len(names):
            raise GanVkdError(
                f"classes {wanted}: this generator has {len(names)} classes, 0 ({names[0]}) to "
                f"{len(names) - 1} ({names[-1]})"
            )
        return index

    def sample(
        self,
        count: int,
        classes: int | str | Iterable[int | str] | None = None,
        seed: int = 0,
        truncation: float | None = None,
        batch_size: int = 64,
    ) -> torch.Tensor:
        """Draw images; sample i depends on (seed, i, its class), not on `batch_size`.

        Args:
            count: number of images.
            classes: one class for all, or one per image, by name or number (see
                `class_indices`); None for the proportions of training, see `labels`.
            seed: of the latents.
            truncation: see `latents`.
            batch_size: images drawn at once.

        Returns:
            uint8 [count, C, S, S], 0 to 255; C = 3, or 1 for grey images.

        Raises:
            GanVkdError: an unknown class; another number of classes than images; an invalid
                count, seed or truncation.
        """
        count, seed = whole_number("count", count), whole_number("seed", seed)
        if classes is None:
            labels = self.labels(count, seed)
        else:
            chosen = self.class_indices(classes)
            chosen = chosen * count if len(chosen) == 1 else chosen
            if len(chosen) != count:
                raise GanVkdError(
                    f"classes: {len(chosen)} of them for {count} images: give one for all, or one "
                    "for each"
                )
            labels = torch.tensor(chosen, dtype=torch.int64)
        z = latents(range(count), self.network.shape["z_dim"], seed, truncation)
        return self.draw(z, labels, batch_size)

    @torch.no_grad()
    def draw(
        self, latents: torch.Tensor, labels: torch.Tensor, batch_size: int = 64
    ) -> torch.Tensor:
        """Latents float [N, z_dim] and labels → uint8 [N, C, S, S] on the CPU.

        Labels are int64 [N], or float [N, classes]: each class's share in a mixed embedding.
        Several processes draw a part each.
        """
        device = next(self.network.parameters()).device
        own = torch.arange(len(labels))[processes.own_part(len(labels))]
        parts = [
            to_uint8(self.network(latents[i].to(device), labels[i].to(device))).cpu()
            for i in own.split(batch_size)
            if len(i)  # no images are one empty part
        ]
        shape = (0, self.network.shape["image_channels"], self.image_size, self.image_size)
        drawn = torch.cat([torch.empty(shape, dtype=torch.uint8), *parts])
        return processes.whole(drawn, len(labels))


def export_generator(
    average: Generator,
    class_names: tuple[str, ...],
    class_counts: torch.Tensor,
    card: dict[str, str],
) -> ExportedGenerator:
    """Turn the averaged weights into a generator that samples well.

    Spectral norms are folded in with the exact largest singular values, which is where power
    iterations converge to (the live network's vectors do not fit averaged weights). Batch-norm
    statistics are estimated anew on mixed labels under a fixed seed.

    Args:
        average: the averaged generator; left as it is.
        class_names: one per class.
        class_counts: int64 [classes], images of each class.
        card: kept in the file's header.
    """
    network = fold_spectral_norm(average)
    estimate_statistics(network, shares_of(class_counts, card))
    return ExportedGenerator(network, class_names, class_counts.cpu(), card)


def shares_of(class_counts: torch.Tensor, card: dict[str, str]) -> torch.Tensor:
    """How often classes are drawn, int64 [classes]: equally often where training was balanced."""
    return torch.ones_like(class_counts) if card.get("balance") == "classes" else class_counts


@torch.no_grad()
def fold_spectral_norm(network: Generator) -> Generator:
    """A copy whose weights are divided by their largest singular value, without SpectralNorm.

    A new network takes the weights: removing torch's parametrizations from a deep copy removes
    them from the original too, since the two share one class.
    """
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for layer in [name for name in state if name.endswith(".parametrizations.weight.original")]:
        prefix = layer.removesuffix(".parametrizations.weight.original")
        raw = state.pop(layer)
        del state[f"{prefix}.parametrizations.weight.0.u"]
        sigma = torch.linalg.matrix_norm(to_float64(raw.flatten(1)), 2).to(raw.device)
        state[f"{prefix}.weight"] = raw / sigma
    with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced
        folded = Generator(**network.shape, spectral_norm=False)
    folded.load_state_dict(state, assign=True)
    return folded.requires_grad_(False)


@torch.no_grad()
def estimate_statistics(network: Generator, class_counts: torch.Tensor) -> None:
    """Set every batch norm's running statistics to their mean over 2,048 samples; eval mode."""
    norms: list[nn.BatchNorm2d] = network.batch_norms()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    device = next(network.parameters()).device
    network.train()
    weights = class_counts.cpu().double()
    for batch in range(STATISTICS_BATCHES):
        draws = generator("statistics", batch)
        z = torch.randn(STATISTICS_BATCH, network.shape["z_dim"], generator=draws)
        labels = torch.multinomial(weights, STATISTICS_BATCH, replacement=True, generator=draws)
        network(z.to(device), labels.to(device))
    network.eval()


def save_generator(exported: ExportedGenerator, path: Path) -> None:
    """Write the file; it is replaced whole."""
    header = {
        "format": FORMAT,
        "shape": json.dumps(exported.network.shape),
        "class_names": json.dumps(exported.class_names),
        "class_counts": json.dumps(exported.class_counts.tolist()),
        "card": json.dumps(exported.card),
    }
    state = {name: tensor.cpu() for name, tensor in exported.network.state_dict().items()}
    write_tensors(path, state, header)


def load_generator(path: str | Path) -> ExportedGenerator:
    """Load a generator from a run directory or from its `generator.safetensors`.

    Raises:
        GanVkdError: the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        run, path = path, path / FILE_NAME
        if not path.is_file() and (run / "config.yaml").is_file():
            read_config(run)  # refuses a run of the other kind
    if not path.is_file():
        raise GanVkdError(
            f"{path}: no such file: the run has no checkpoint yet, or this is not a run directory"
        )
    try:
        state, header = read_tensors(path, FORMAT)
        shape, names, counts, card = (
            json.loads(header[name]) for name in ("shape", "class_names", "class_counts", "card")
        )
        _check_header(shape, names, counts)
        with torch.device("meta"):  # a header may claim any size: no memory before it fits
            network = Generator(**shape, spectral_norm=False)
        network.load_state_dict(state, assign=True)
        network = network.float().eval().requires_grad_(False)
        return ExportedGenerator(network, tuple(names), torch.tensor(counts), dict(card))
    except OSError as error:
        raise GanVkdError(f"{path}: can't be read ({error.strerror or error})") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise GanVkdError(f"{path}: not a whole exported generator ({reason[:200]})") from None


def _check_header(shape: dict, names: list, counts: list) -> None:
    """Raises ValueError where a header is none that `save_generator` writes."""
    if not all(isinstance(name, str) for name in names):
        raise ValueError("class names that are no text")
    if not all(isinstance(count, int) and 0 <= count < 2**48 for count in counts) or not any(
        counts
    ):
        raise ValueError("class counts that are no counts")
    if not shape["num_classes"] == len(names) == len(counts):
        raise ValueError("another number of class names than of classes")
    if shape.get("image_channels", 3) not in (1, 3):  # earlier versions wrote none: three
        raise ValueError(f"images of {shape['image_channels']} channels")
    if shape["image_size"] not in SIZES:
        raise ValueError(f"images of {shape['image_size']} pixels")
    if len(shape["widths"]) != len(generator_sides(shape["image_size"])):
        raise ValueError("widths that don't fit its image size")
