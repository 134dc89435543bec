"""Training that starts from a trained generator, and from its discriminator where that is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gan_vkd.device import to_float64
from gan_vkd.engine.players import below
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator, load_generator
from gan_vkd.gan.networks.biggan import Generator
from gan_vkd.gan.task import GanTask

FIELDS = {  # of a generator's shape: what sets them
    "image_size": "data.image_size",
    "image_channels": "data.channels",
    "channels": "gan.channels",
    "z_dim": "gan.z_dim",
    "widths": "gan.generator_widths",
}
NORMALISED = ".parametrizations.weight"  # what SpectralNorm adds to the name of a layer's weight
TOLERANCE = 1e-3  # of a largest singular value that should be 1


@dataclass(frozen=True)
class Initial:
    """The initial weights of a run.

    Attributes:
        place: of the generator, as --init has it.
        generator: an exported one.
        discriminator: its state at the newest checkpoint; None where there is none.
    """

    place: Path
    generator: ExportedGenerator
    discriminator: dict[str, torch.Tensor] | None


def read_initial(place: Path) -> Initial:
    """The generator of a run directory or file; of a run with a checkpoint, its discriminator too.

    Raises:
        GanVkdError: no such generator, or a checkpoint that can't be read.
    """
    try:
        generator = load_generator(place)
        found = RunDir(place).checkpoints.load_newest() if place.is_dir() else None
    except GanVkdError as error:
        raise GanVkdError(f"--init {str(error).removeprefix('--resume: ')}") from None
    state = None if found is None else below(found[1], "d.discriminator")
    return Initial(place, generator, state)


def start_from(task: GanTask, initial: Initial) -> str:
    """Give a new run's networks the initial weights; its average is a copy of its generator.

    Embeddings of classes go by the classes' names; a new class gets the mean of the initial ones.

    Returns:
        What was done, in a line for people.

    Raises:
        GanVkdError: networks of other shapes, or a generator that was trained without spectral
            norm where the new one has it.
    """
    place, given = initial.place, initial.generator
    names, known = task.data.train.class_names, given.class_names
    _require_same_shape(place, given.network.shape, task.generator.shape)
    state = _by_class(
        task.generator, _as_trained(place, given.network, task.generator), known, names
    )
    task.generator.load_state_dict(state)
    task.average.load_state_dict(state)
    networks = "its generator"
    if initial.discriminator is not None:
        state = _by_class(task.discriminator, initial.discriminator, known, names)
        _require_same_tensors(place, state, task.discriminator.state_dict())
        try:
            task.discriminator.load_state_dict(state)
        except GanVkdError as error:  # on another frozen network
            raise GanVkdError(f"--init {place}: {error}") from None
        networks += " and discriminator"
    shared = len(set(names) & set(known))
    return f"Start          {place}: {networks}, {shared} of {len(names)} classes by name"


def _require_same_shape(place: Path, there: Mapping, here: Mapping) -> None:
    for name, field in FIELDS.items():
        if there[name] != here[name]:
            raise GanVkdError(
                f"--init {place}: its generator has {field} {there[name]} and this run's has "
                f"{here[name]}: choose the same"
            )


def _require_same_tensors(place: Path, there: Mapping, here: Mapping) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in of.items()} for of in (there, here)]
    if shapes[0] != shapes[1]:
        layers = {
            name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name)
        }
        name = min(layers)
        raise GanVkdError(
            f"--init {place}: its discriminator has {name} {shapes[0].get(name)} and this run's "
            f"has {shapes[1].get(name)}: choose the same gan.discriminator_widths, --discriminator "
            "and --with chain, or name its generator.safetensors, which is the generator alone"
        )


@torch.no_grad()
def _as_trained(place: Path, exported: Generator, network: Generator) -> dict[str, torch.Tensor]:
    """The exported weights under the names that they have in `network`, which draws the same.

    Where `network` has spectral norm, its vectors u are the weights' first left singular ones, so
    that σ = 1 from the first step on.
    """
    given, state = exported.state_dict(), {}
    for name in network.state_dict():
        layer = name.partition(NORMALISED)[0]
        if not name.endswith(f"{NORMALISED}.0.u"):
            state[name] = given[name.replace(f"{NORMALISED}.original", ".weight")]
            continue
        vectors, values, _ = torch.linalg.svd(
            to_float64(given[f"{layer}.weight"].flatten(1)), full_matrices=False
        )
        if abs(float(values[0]) - 1) > TOLERANCE:
            raise GanVkdError(
                f"--init {place}: its generator was trained without spectral norm (a singular "
                f"value of {float(values[0]):.3g} in {layer}) and this run's has it: add "
                "--set gan.generator_spectral_norm=false"
            )
        state[name] = vectors[:, 0].float()
    return state


def _by_class(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    known: tuple[str, ...],
    names: tuple[str, ...],
) -> dict[str, torch.Tensor]:
    """`state` whose embeddings have one row for each of `names`, not for each of `known`."""
    tables = [path for path, m in network.named_modules() if isinstance(m, nn.Embedding)]

    def rows(table: torch.Tensor) -> torch.Tensor:
        mean = table.mean(dim=0)
        return torch.stack([table[known.index(n)] if n in known else mean for n in names])

    return {
        name: rows(tensor) if any(name.startswith(f"{table}.") for table in tables) else tensor
        for name, tensor in state.items()
    }
