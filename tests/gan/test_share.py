"""Two and three processes against one with the same batch: all weights, all buffers, the log."""

import socket
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from fixed_teacher import FixedTeacher

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill import cache
from gan_vkd.distill.view import TeacherView
from gan_vkd.gan import task as task_module
from gan_vkd.gan.task import GanTask
from gan_vkd.processes import digest
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")
ITERATIONS = 50
BASE = ("training.batch_size=8", "training.precision=fp32", "training.d_steps=1")
BASE += ("gan.channels=4", "gan.generator_spectral_norm=true", "training.ema_start=10")
BASE += ("data.augment=color,translation,cutout", "distill.generated_every=2")
LECAM = ("terms.lecam={start: 20}", "distill.weight=null", "distill.ratio=0.5")

SETTINGS = {
    "whiten": LECAM,
    "whiten-dataset": ("distill.normalise=whiten-dataset", "distill.shuffled=true"),
    "smooth-l1": ("distill.distance=smooth-l1", "distill.normalise=layernorm"),
    "svd": ("distill.projection=svd", "distill.normalise=none"),
}
MORE = {
    "plain": None,
    "whiten-iterative": ("distill.normalise=whiten-iterative",),
    "ridge": ("distill.ridge=0.1", "training.d_steps=3"),
    "exp": ("distill.projection=orthogonal-exp", "distill.normalise=whiten-dataset"),
    "linear": ("distill.projection=linear", "distill.normalise=none", *LECAM),
    "frozen": ("distill.projection=orthogonal-frozen",),
    "one more than shares": ("training.batch_size=13", *LECAM),
}


def to_double(images: torch.Tensor) -> torch.Tensor:
    return images.double() / 127.5 - 1


def train(settings: tuple[str, ...] | None) -> dict[str, torch.Tensor]:
    """All that is in the end, and the last iteration's log."""
    recipe = resolve([("", preset_layer("tiny")), ("", set_layer((*BASE, *(settings or ()))))])
    data = split_training(load_dataset("digits", image_size=16, channels=3), 0.2, "balanced", 0)
    view = TeacherView(FixedTeacher(48), data.train, CPU, "fp32") if settings else None
    task = GanTask(recipe, data, view, CPU)
    task.prepare(QUIET)
    for iteration in range(ITERATIONS):
        log = task.iterate(iteration, measure=iteration == ITERATIONS - 1)
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    return state | {f"log.{name}": torch.tensor(value) for name, value in log.items()}


def worker(rank: int, size: int, port: int, grid: dict, kind: torch.dtype, out: str) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(kind)
    if kind == torch.float64:
        task_module.to_float = cache.to_float = to_double
    if size > 1:
        place = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=place, rank=rank, world_size=size)
    ended = {name: train(settings) for name, settings in grid.items()}
    same = {name: digest(state) for name, state in ended.items()}
    torch.save((ended, same), f"{out}/{size}-{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def difference(state: dict, expected: dict, part: str) -> float:
    """Relative, over all tensors whose names begin so."""
    names = [name for name in expected if name.startswith(part)]
    pairs = [(state[name].double(), expected[name].double()) for name in names]
    missed = sum((a - b).square().sum() for a, b in pairs)
    return (missed / sum(b.square().sum() for _, b in pairs)).sqrt().item()


def differences(folder: Path, grid: dict, kind: torch.dtype, sizes: tuple[int, ...]) -> dict:
    """By number of processes and setting: the greatest over weights, the average and buffers."""
    ended = {}
    for size in (1, *sizes):
        mp.spawn(worker, (size, free_port(), grid, kind, str(folder)), nprocs=size)
        files = [torch.load(folder / f"{size}-{rank}.pt") for rank in range(size)]
        assert all(hashes == files[0][1] for _, hashes in files)  # the same bits in all of them
        ended[size] = files[0][0]
    found = {}
    for size in sizes:
        for name in grid:
            state, expected = ended[size][name], ended[1][name]
            assert state.keys() == expected.keys()
            parts = {".".join(key.split(".")[:2]) for key in expected}
            found[size, name] = {part: difference(state, expected, part) for part in parts}
    return found


def test_float64(tmp_path):
    found = differences(tmp_path, SETTINGS, torch.float64, (2, 3))
    print(found)
