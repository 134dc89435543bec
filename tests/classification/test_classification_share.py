"""Two and three processes train a classifier like one with the same batch: all of its state."""

from pathlib import Path

import pytest
import torch
from several import several

from gan_vkd import processes
from gan_vkd.classification import task as task_module
from gan_vkd.classification.students import make_student, make_teacher
from gan_vkd.classification.task import ClassificationTask
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.registry import METHODS
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import TrainingData
from gan_vkd.distill.classifiers import Shape, build_classifier, write_classifier
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")
CLASSES = tuple("abcd")
WHITEN = {"method": "vkd", "normalise": "whiten", "weight": 30}
SOME = {
    "vkd, whitened": {"distill": WHITEN},
    "srd, everything mixed": {
        "distill": {"method": "srd"},
        "data": {"augment": "deit", "flip": True},
        "training": {"mixup": 0.8, "cutmix": 1.0},
    },
    "crd+kd, crops": {
        "distill": {"method": "crd+kd", "negatives": 6},
        "data": {"augment": "crop", "flip": True},
    },
    "a student of timm's, sp": {
        "distill": {"method": "sp"},
        "student": {"name": "timm:test_efficientnet", "image_size": 32},
    },
}
REST = {
    **{
        name: {"distill": {"method": name} | ({"negatives": 6} if "crd" in name else {})}
        for name in METHODS
    },
    "whitened over the data set": {"distill": WHITEN | {"normalise": "whiten-dataset"}},
    "patches, linear": {
        "distill": {"method": "vkd", "features": "positions", "projection": "linear"},
        "student": {"name": "timm:test_vit", "patch_size": 8},
        "training": {"optimiser": "adamw"},
    },
}


def make_task(groups: dict, kind: torch.dtype, folder: Path) -> ClassificationTask:
    distill = groups.get("distill", {})
    untaught = distill.get("method") == "none"
    training = {"batch_size": 8, "epochs": 2, "lr": 0.01, "precision": "fp32"}
    recipe = ClassificationRecipe.model_validate(
        {
            "data": {"augment": "none", "flip": False, "image_size": 16} | groups.get("data", {}),
            "training": training | groups.get("training", {}),
            "student": groups.get("student", {}),
            "teacher": {"spec": "none" if untaught else f"file:{folder}/teacher.safetensors"},
            "distill": distill,
        }
    )
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 16, 16), generator=draws, dtype=torch.uint8)
    noise = ImageSet(images, torch.arange(40) % 4, CLASSES)
    torch.manual_seed(3)
    student = make_student(recipe.student, CLASSES, 16).to(kind)
    teacher = make_teacher(recipe.teacher, CLASSES)
    teacher = None if teacher is None else teacher.to(kind)
    return ClassificationTask(recipe, TrainingData(noise, noise, "test"), student, teacher, CPU)


def work(grid: dict, folder: str, iterations: int) -> None:
    torch.set_default_dtype(torch.float64)
    task_module.to_float = lambda images: images.double() / 127.5 - 1
    for name, groups in grid.items():
        task = make_task(groups, torch.float64, Path(folder))
        task.prepare(QUIET)
        for iteration in range(iterations):
            log = task.iterate(iteration, measure=iteration == iterations - 1)
        state = {key: tensor.clone() for key, tensor in task.state_dict().items()}
        processes.require_same(name, processes.digest, state)  # the same bits in all of them
        state |= {f"log.{key}": torch.tensor(value) for key, value in log.items()}
        if processes.leading():
            torch.save(state, f"{folder}/{name}-{processes.size()}.pt")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(2)
    teacher = build_classifier(Shape("resnet8x4", CLASSES, 16))
    for _ in range(3):  # batch norms that have seen something
        teacher(torch.rand(16, 3, 16, 16) * 2 - 1)
    write_classifier(teacher, tmp_path / "teacher.safetensors", {})
    return tmp_path


def differences(folder: Path, grid: dict, size: int) -> dict[tuple, float]:
    """By setting and tensor, relative to its size."""
    found = {}
    for name in grid:
        state, expected = (torch.load(folder / f"{name}-{count}.pt") for count in (size, 1))
        assert state.keys() == expected.keys()
        for key, tensor in expected.items():
            missed = (state[key].double() - tensor.double()).norm()
            found[name, key] = (missed / tensor.double().norm().clamp_min(1e-3)).item()
    return found


def check(folder: Path, grid: dict, size: int, iterations: int) -> None:
    for count in (1, size):
        several(count, work, grid, str(folder), iterations)
    found = differences(folder, grid, size)
    print(sorted(found.items(), key=lambda item: -item[1])[:8])
    assert {key: value for key, value in found.items() if not value <= 1e-8} == {}


def test_three_processes_take_the_steps_of_one(folder):
    check(folder, SOME, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_every_method_trains_like_one_process(folder, size):
    check(folder, SOME | REST, size, 6)


def test_processes_draw_apart_for_drop_path(folder):
    several(2, draw_apart, str(folder))


def draw_apart(folder: str) -> None:
    student = {"name": "timm:test_vit", "patch_size": 8, "drop_path": 0.5}
    task = make_task({"student": student, "distill": WHITEN}, torch.float32, Path(folder))
    task.iterate(0)
    state = torch.random.get_rng_state()
    first, second = processes.gathered(state)
    assert not torch.equal(first, second)


def test_batch_norms_that_cannot_be_shared_are_refused():
    several(2, refuse)


def refuse() -> None:
    from gan_vkd.classification.share import ClassifierShare

    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    with pytest.raises(GanVkdError, match="BatchNorm1d"):
        ClassifierShare(8).student(network, network)
