"""Two and three processes against one with the same batch: all weights, all buffers, the log."""

from pathlib import Path

import pytest
import torch
from fixed_teacher import FixedTeacher
from several import several

from gan_vkd import processes
from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill import cache
from gan_vkd.distill.view import TeacherView
from gan_vkd.gan import task as task_module
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")
ITERATIONS = 50
BASE = ("training.batch_size=8", "training.precision=fp32", "training.d_steps=1")
BASE += ("gan.channels=4", "gan.generator_spectral_norm=true", "training.ema_start=10")
BASE += ("data.augment=color,translation,cutout", "terms.mode-seeking=false")
VKD = ("distill.generated_every=2", "distill.normalise=whiten")
LECAM = ("terms.lecam={start: 20}", "distill.weight=null", "distill.ratio=0.5")

# In 2 processes of 4 images, in 3 of 2, 3 and 3.
WHITEN = {"whiten, λ that follows, lecam": LECAM}
OTHERS = {
    "whiten-dataset": (
        "distill.normalise=whiten-dataset",
        "distill.distance=smooth-l1",
        "distill.shuffled=true",
    ),
    "svd, chain": (
        *("distill.projection=svd", "distill.normalise=none"),
        "terms.chain={start: 0, speed: 0.3, target: -0.9, base: 0.1}",
    ),
}
FIELD = {
    "cr, bcr, zcr, mode-seeking, san, augself": (
        *("terms.cr={}", "terms.bcr={}", "terms.zcr={}", "terms.san={}", "terms.augself={}"),
        "terms.mode-seeking={weight: 0.1}",
    ),
    "kd-dlgan, vision-aided": (
        *("distill.method=kd-dlgan", "distill.form=paper"),
        "terms.vision-aided={backbone: random:test_efficientnet, image_size: 64, start: 20}",
    ),
    "projected": (
        *("discriminator.kind=projected", "discriminator.backbone=random:test_efficientnet"),
        *("discriminator.channels=2", "terms.lecam={start: 20}"),
        *("training.d_lr=2e-4", "training.g_lr=2e-4"),  # at tiny's, roundings grow tenfold in two
    ),
    "r3gan, diggan, ada, apa": (
        *("gan.loss=relativistic", "terms.r1={}", "terms.r2={}", "terms.diggan={weight: 1}"),
        *("data.augment=ada", "terms.adaptive={start: 0.5}", "terms.apa={start: 0.5}"),
    ),
}
GRID = {
    **WHITEN,
    **OTHERS,
    **FIELD,
    "no teacher": None,
    "layernorm": ("distill.distance=smooth-l1", "distill.normalise=layernorm", *LECAM),
    "whiten-iterative": ("distill.normalise=whiten-iterative",),
    "ridge, three steps of D": ("distill.ridge=0.1", "training.d_steps=3"),
    "exp": ("distill.projection=orthogonal-exp", "distill.normalise=whiten-dataset"),
    "linear": ("distill.projection=linear", "distill.normalise=none", *LECAM),
    "frozen": ("distill.projection=orthogonal-frozen",),
    "thirteen images": ("training.batch_size=13", *LECAM),
}


PARTS = ("d.discriminator", "g.generator", "average", "d.adam", "g.adam", "log")


def in_float64(images: torch.Tensor) -> torch.Tensor:
    return images.double() / 127.5 - 1


def train(settings: tuple[str, ...] | None, iterations: int) -> dict[str, torch.Tensor]:
    """All that is in the end, and the last iteration's log."""
    own = settings or ()
    base = BASE if "distill.method=kd-dlgan" in own else (*BASE, *VKD)
    recipe = resolve([("", preset_layer("tiny")), ("", set_layer((*base, *own)))])
    data = split_training(load_dataset("digits", image_size=16, channels=3), 0.2, "balanced", 0)
    view = TeacherView(FixedTeacher(48), data.train, CPU, "fp32") if settings else None
    task = GanTask(recipe, data, view, CPU)
    task.prepare(QUIET)
    for iteration in range(iterations):
        log = task.iterate(iteration, measure=iteration == iterations - 1)
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    return state | {f"log.{name}": torch.tensor(value) for name, value in log.items()}


def work(grid: dict, kind: torch.dtype, out: str, iterations: int) -> None:
    torch.set_default_dtype(kind)
    if kind == torch.float64:
        task_module.to_float = cache.to_float = in_float64
    for name, settings in grid.items():
        ended = train(settings, iterations)
        processes.require_same(name, processes.digest, ended)  # the same bits in all of them
        if processes.leading():
            torch.save(ended, f"{out}/{name}-{processes.size()}.pt")


def difference(state: dict, expected: dict, names: list[str]) -> float:
    """Relative, over all these tensors."""
    pairs = [(state[name].double(), expected[name].double()) for name in names]
    missed = sum((a - b).square().sum() for a, b in pairs)
    return (missed / sum(b.square().sum() for _, b in pairs)).sqrt().item()


def differences(
    folder: Path, grid: dict, kind: torch.dtype, size: int, iterations: int = ITERATIONS
) -> dict[tuple, float]:
    """By setting, of each part of the state, of the log, and of all weights and buffers."""
    several(size, work, grid, kind, str(folder), iterations)
    found = {}
    for name in grid:
        state, expected = (torch.load(folder / f"{name}-{count}.pt") for count in (size, 1))
        assert state.keys() == expected.keys()
        parts = {part: [key for key in expected if key.startswith(part)] for part in PARTS}
        parts["all"] = [key for key in expected if not key.startswith(("log.", "d.adam", "g.adam"))]
        for part, names in parts.items():
            found[name, part] = difference(state, expected, names)
    return found


def test_three_processes_take_the_steps_of_one(tmp_path):
    several(1, work, WHITEN | OTHERS, torch.float64, str(tmp_path), 3)
    found = differences(tmp_path, WHITEN | OTHERS, torch.float64, 3, 3)
    assert {key: value for key, value in found.items() if not value <= 1e-9} == {}


@pytest.mark.slow
def test_two_and_three_processes_train_like_one(tmp_path):
    several(1, work, WHITEN | OTHERS, torch.float64, str(tmp_path), ITERATIONS)
    found = differences(tmp_path, WHITEN, torch.float64, 2)
    found |= differences(tmp_path, OTHERS, torch.float64, 3)
    print(max(found.items(), key=lambda item: item[1]))
    assert {key: value for key, value in found.items() if not value <= 1e-6} == {}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_every_setting_trains_like_one_process(size, tmp_path):
    several(1, work, GRID, torch.float64, str(tmp_path), ITERATIONS)
    found = differences(tmp_path, GRID, torch.float64, size)
    print(sorted(found.items(), key=lambda item: -item[1])[:12])
    assert {key: value for key, value in found.items() if not value <= 1e-6} == {}


@pytest.mark.slow
def test_weights_in_float32_stay_near_those_of_one_process(tmp_path):
    """Roundings grow, the faster the higher the rates are: these are the field's."""
    rates = ("training.d_lr=2e-4", "training.g_lr=2e-4")
    grid = {name: None if more is None else (*more, *rates) for name, more in GRID.items()}
    several(1, work, grid, torch.float32, str(tmp_path), ITERATIONS)
    found = differences(tmp_path, grid, torch.float32, 2)
    print(sorted(found.items(), key=lambda item: -item[1])[:12])
    assert {key: v for key, v in found.items() if key[1] == "all" and not v <= 1e-3} == {}
