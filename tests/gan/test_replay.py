"""A GAN's iteration as a graph: what may be replayed, and that a replay is the iteration."""

from collections import defaultdict

import pytest
import torch
from fixed_teacher import FixedTeacher
from float64 import in_float64
from torch.utils._python_dispatch import TorchDispatchMode

from gan_vkd.bench.operations import Operations
from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.device import compute_deterministically
from gan_vkd.distill import normalise, projections
from gan_vkd.distill.view import TeacherView
from gan_vkd.engine.draws import to_device
from gan_vkd.engine.replay import CALLS_BEFORE
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET

CASES = {
    "no teacher": ("training.d_steps=2", "training.ema_start=3"),
    "lecam": ("terms.lecam.start=3",),
    "projected": (
        "discriminator.kind=projected",
        "discriminator.backbone=random:test_efficientnet",
        "discriminator.channels=2",
        "distill.generated_every=2",
    ),
    "kd-dlgan": ("distill.method=kd-dlgan", "distill.form=paper"),
    "vision-aided": (
        "terms.vision-aided={backbone: random:test_efficientnet, start: 3}",
        "data.augment=none",
    ),
    "cr": ("terms.cr={}", "data.augment=none"),
    "bcr": ("terms.bcr={}",),
    "zcr, mode-seeking": ("terms.zcr={}", "terms.mode-seeking={}"),
    "ada, apa": ("data.augment=ada", "terms.apa={}"),
    "san, augself": ("terms.san={}", "terms.augself={}"),
    "r3gan": ("gan.loss=relativistic", "terms.r1={}", "terms.r2={}"),
    "diggan": ("terms.diggan={}", "training.d_steps=2"),
    "whiten": ("distill.normalise=whiten", "distill.generated_every=3", "training.d_steps=2"),
    "whiten, ratio": (
        "distill.normalise=whiten",
        "distill.weight=null",
        "distill.ratio=0.5",
        "distill.generated_every=2",
    ),
    "whiten-dataset": ("distill.normalise=whiten-dataset", "distill.projection=linear"),
    "whiten-iterative": ("distill.normalise=whiten-iterative",),
    "layernorm": ("distill.normalise=layernorm", "distill.distance=smooth-l1"),
}
TAUGHT = ("whiten", "layernorm", "projected", "kd-dlgan")  # how names with a teacher begin

CPU = torch.device("cpu")


def make(case: str, device: torch.device = CPU) -> GanTask:
    sets = ("training.batch_size=8", "training.precision=fp32", "data.augment=translation,cutout")
    sets += ("terms.mode-seeking=false", *CASES[case])
    recipe = resolve([("preset", preset_layer("tiny")), ("set", set_layer(sets))])
    data = split_training(load_dataset("digits", image_size=16, channels=3), 0.2, "balanced", 0)
    view = None
    if case.startswith(TAUGHT) or case in ("svd", "orthogonal-exp"):
        view = TeacherView(FixedTeacher(48).to(device), data.train, device, "fp32")
    task = GanTask(recipe, data, view, device)
    task.prepare(QUIET)
    return task


class Recorder(TorchDispatchMode):
    """The operations that torch is asked for, in their order: shapes of tensors, and numbers."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.namespace == "aten":
            shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
            numbers = [a for a in args if isinstance(a, int | float)]
            self.operations.append((str(operation), str(shapes + numbers)))
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The paths that a device takes where every question makes the host wait."""
    for module in (normalise, projections):
        monkeypatch.setattr(module, "asking_waits", lambda device: True)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("case", CASES)
def test_iterations_of_one_kind_are_the_same_operations_and_ask_nothing(case):
    task = make(case)
    by_kind = defaultdict(list)
    for iteration in range(12):
        drawn = task.draws.of_iteration(iteration)
        inputs = {**to_device(drawn, task.device), **task._shown(drawn)}
        with Operations() as asked, Recorder() as recorder:
            task._compute(inputs, iteration, measure=True)
        assert asked.total > 100
        assert asked.waits == 0, asked.counts
        by_kind[task._kind(iteration)].append(recorder.operations)
    assert all(task.terms[name].static for name in task.terms)
    compared = 0
    for _, *runs in by_kind.values():  # the first ones make the optimisers' moments
        for run in runs:
            assert run == runs[0]
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize("case", ["svd", "orthogonal-exp"])
def test_projections_that_ask_the_device_are_not_replayed(case, monkeypatch):
    normalisation = "none" if case == "svd" else "whiten"
    sets = (f"distill.projection={case}", f"distill.normalise={normalisation}")
    monkeypatch.setitem(CASES, case, sets)
    assert not make(case).terms["vkd"].static


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA knows")
@pytest.mark.parametrize("case", CASES)
def test_a_replayed_iteration_is_the_iteration(case, monkeypatch):
    """From the same state, with deterministic kernels: the same state after it, to rounding.

    ADA's warp has no deterministic kernel. Adam makes whole steps of rounding where a gradient is
    0, as before a batch norm; in float64 rounding is less than its epsilon.
    """
    compute_deterministically()
    device = torch.device("cuda")
    replayed, plain = make(case, device), make(case, device)
    if case == "ada, apa":
        torch.use_deterministic_algorithms(False)
        replayed, plain = (in_float64(monkeypatch, task) for task in (replayed, plain))
    plain.replay.enabled = False
    for iteration in range(CALLS_BEFORE + 9):
        plain.load_state_dict(replayed.state_dict())
        values, expected = replayed.iterate(iteration, True), plain.iterate(iteration, True)
        assert values == pytest.approx(expected, rel=1e-4, abs=1e-6)
        after, wanted = replayed.state_dict(), plain.state_dict()
        for name in wanted:
            assert torch.allclose(after[name], wanted[name], rtol=1e-3, atol=1e-6), name
    assert replayed.replay._recorded
