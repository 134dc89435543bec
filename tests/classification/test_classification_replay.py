"""A classifier's iteration as a graph: it asks nothing, and a replay is the iteration."""

import pytest
import torch

from gan_vkd.bench.operations import Operations
from gan_vkd.classification.students import make_student, make_teacher
from gan_vkd.classification.task import ClassificationTask
from gan_vkd.config.registry import METHODS
from gan_vkd.data.subsets import TrainingData
from gan_vkd.device import compute_deterministically
from gan_vkd.distill import normalise, projections
from gan_vkd.distill.classifiers import Shape, build_classifier, write_classifier
from gan_vkd.engine.draws import to_device
from gan_vkd.engine.replay import CALLS_BEFORE

CPU = torch.device("cpu")


@pytest.fixture
def make(recipe, noise, tmp_path):
    """Makes a task by its method, everything that a recipe can draw turned on."""

    def made(method: str, device: torch.device = CPU) -> ClassificationTask:
        torch.manual_seed(0)
        path = tmp_path / "teacher.safetensors"
        write_classifier(build_classifier(Shape("resnet8x4", noise.class_names, 16)), path, {})
        few = {"negatives": 6} if method.startswith(("crd", "wcord")) else {}
        settings = recipe(
            distill={"method": method, **few},
            data={"augment": "deit" if method == "vkd" else "crop", "flip": True},
            training={"mixup": 0.8, "cutmix": 1.0},
            teacher={"spec": "none" if method == "none" else f"file:{path}"},
        )
        teacher = make_teacher(settings.teacher, noise.class_names)
        student = make_student(settings.student, noise.class_names, 16)
        data = TrainingData(noise.to(device), noise.to(device), "the test split")
        return ClassificationTask(
            settings, data, student, None if teacher is None else teacher.to(device), device
        )

    return made


@pytest.mark.parametrize("method", list(METHODS))
def test_an_iteration_asks_the_device_nothing(method, make, monkeypatch):
    for module in (normalise, projections):  # the paths that a GPU takes
        monkeypatch.setattr(module, "asking_waits", lambda device: True)
    task = make(method)
    drawn = task.draws(0)
    inputs = to_device(drawn, CPU) | {
        "images": task.data.train.images[drawn["rows"]],
        "labels": task.data.train.labels[drawn["rows"]],
    }
    task._compute(inputs, measure=True)  # the optimiser's moments
    with Operations() as asked:
        task._compute(inputs, measure=True)
    assert asked.total > 100
    assert asked.waits == 0, asked.counts
    assert task.method.static


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA knows")
@pytest.mark.parametrize("method", list(METHODS))
def test_a_replayed_iteration_is_the_iteration(method, make):
    """From the same state, with deterministic kernels: the same state after it, to rounding."""
    compute_deterministically()
    device = torch.device("cuda")
    replayed, plain = make(method, device), make(method, device)
    plain.replay.enabled = False
    for iteration in range(CALLS_BEFORE + 5):
        plain.load_state_dict(replayed.state_dict())
        values, expected = replayed.iterate(iteration, True), plain.iterate(iteration, True)
        assert values == pytest.approx(expected, rel=1e-3, abs=1e-5)
        after, wanted = replayed.state_dict(), plain.state_dict()
        for name in wanted:
            assert torch.allclose(after[name], wanted[name], rtol=1e-3, atol=1e-5), name
    assert replayed.replay._recorded
