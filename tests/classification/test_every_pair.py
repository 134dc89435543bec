"""Table 1's six pairs under each of its methods take steps on real photographs."""

import copy
import math
from pathlib import Path

import pytest
import torch
import yaml

from gan_vkd.classification.students import make_student, make_teacher
from gan_vkd.classification.task import ClassificationTask
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill.classifiers import (
    Classifier,
    Shape,
    build_classifier,
    read_classifier,
    write_classifier,
)
from gan_vkd.progress import QUIET

ROOT = Path(__file__).resolve().parents[2]
STUDY = yaml.safe_load((ROOT / "configs/studies/classification/table1.yaml").read_text())
SMALL = {"epochs": 1, "batch_size": 16, "lr": 0.01, "precision": "fp32"}
CPU = torch.device("cpu")


def seen(classifier: Classifier, images: ImageSet) -> Classifier:
    """With images' statistics in its batch norms: features then have a trained one's size."""
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a mean over all that it sees
    with torch.no_grad():
        classifier.train()(to_float(images.images[:64]))
    return classifier


@pytest.mark.slow
@pytest.mark.parametrize("pair", STUDY["pairs"])
def test_a_pair_learns_by_every_method(pair, few_of_cifar100, tmp_path):
    pair = STUDY["pairs"][pair]
    dataset = load_dataset("cifar100", image_size=32, data_root=few_of_cifar100)
    data = split_training(dataset, 1.0, "balanced", 0)
    names = data.train.class_names
    torch.manual_seed(0)
    path = tmp_path / "teacher.safetensors"
    name = STUDY["teachers"][pair["teacher"]]["student"]["name"]
    write_classifier(seen(build_classifier(Shape(name, names, 32)), data.train), path, {})
    student = pair["student"]["student"]
    plain = build_classifier(Shape(student["name"], names, 32))
    own_count = sum(p.numel() for p in plain.parameters())
    for arm, settings in STUDY["arms"].items():
        distill = dict(settings["distill"])
        if "crd" in distill["method"]:
            distill["negatives"] = 64
        taught = {} if distill["method"] == "none" else {"teacher": {"spec": f"file:{path}"}}
        recipe = ClassificationRecipe.model_validate(
            {"student": student, "distill": distill, "training": SMALL, **taught}
        )
        teacher = make_teacher(recipe.teacher, names) if taught else None
        learner = make_student(recipe.student, names, 32)
        task = ClassificationTask(recipe, data, learner, teacher, CPU)
        task.prepare(QUIET)
        before = copy.deepcopy(task.student.state_dict())
        taught_before = teacher and copy.deepcopy(teacher.state_dict())
        for iteration in range(2):
            line = task.iterate(iteration, measure=True)
            assert all(map(math.isfinite, line.values())), (arm, line)
        for name, parameter in task.student.named_parameters():
            assert not torch.equal(parameter, before[name]), (arm, name)
        if teacher is not None:
            assert line["method"] != 0, arm
            assert all(p.grad is None for p in teacher.parameters())
            after = teacher.state_dict()
            assert all(torch.equal(after[name], taught_before[name]) for name in after), arm
        task.export(2, tmp_path / "student.safetensors")
        exported = read_classifier(tmp_path / "student.safetensors")
        assert sum(p.numel() for p in exported.parameters()) == own_count
        plain.plain.load_state_dict(exported.plain.state_dict())
        images = task.data.train.batch(torch.arange(4), CPU)[0]
        wanted = task.student.eval()(images).logits
        missed = plain.eval()(images).logits - wanted
        assert missed.norm() < 1e-4 * wanted.norm(), arm
