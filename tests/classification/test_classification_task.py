"""One iteration against plain torch in float64, and what is measured."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from gan_vkd.classification.accuracy import accuracy
from gan_vkd.classification.draws import draws_itself
from gan_vkd.classification.optimiser import StudentPlayer, rate_at
from gan_vkd.classification.students import make_student, make_teacher
from gan_vkd.classification.task import ClassificationTask
from gan_vkd.config.registry import METHODS
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.subsets import TrainingData
from gan_vkd.distill.classifiers import Shape, build_classifier, write_classifier
from gan_vkd.distill.outputs import Outputs
from gan_vkd.errors import GanVkdError

CPU = torch.device("cpu")


def make_task(recipe, noise, teacher=None):
    data = TrainingData(noise, noise, "the test split")
    torch.manual_seed(0)
    student = make_student(recipe.student, noise.class_names, 16)
    return ClassificationTask(recipe, data, student, teacher, CPU)


@pytest.fixture
def teacher(noise, tmp_path, recipe):
    torch.manual_seed(2)
    path = tmp_path / "teacher.safetensors"
    write_classifier(build_classifier(Shape("vgg8", noise.class_names, 16)), path, {})
    settings = recipe(teacher={"spec": f"file:{path}"}).teacher
    return make_teacher(settings, noise.class_names)


def shown(task, iteration, noise):
    rows = task.draws(iteration)["rows"]
    return to_float(noise.images[rows]), noise.labels[rows]


def test_two_steps_of_sgd_with_kd(recipe, noise, teacher):
    settings = recipe(distill={"method": "kd", "temperature": 2.0})
    task = make_task(settings, noise, teacher)
    plain = copy.deepcopy(task.student).double()
    taught = copy.deepcopy(teacher.classifier).double()
    moments = [torch.zeros_like(p) for p in plain.parameters()]

    def logits(network, images):
        normalised = ((images.double() + 1) / 2 - network.mean) / network.std
        return network.network(normalised).logits

    for iteration in range(2):
        images, labels = shown(task, iteration, noise)
        ours, theirs = logits(plain, images), logits(taught, images).detach()
        divergence = 4 * F.kl_div(
            F.log_softmax(ours / 2, 1), F.softmax(theirs / 2, 1), reduction="batchmean"
        )
        loss = 0.1 * F.cross_entropy(ours, labels) + 0.9 * divergence
        gradients = torch.autograd.grad(loss, list(plain.parameters()))
        with torch.no_grad():
            for p, gradient, moment in zip(plain.parameters(), gradients, moments, strict=True):
                moment.mul_(0.9).add_(gradient + 5e-4 * p)
                p.sub_(0.1 * moment)
        line = task.iterate(iteration, measure=True)
        assert line["loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert line["rate"] == pytest.approx(0.1)
    for ours, theirs in zip(task.student.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours.double(), theirs, atol=2e-4)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "none"])
def test_every_method_trains_what_it_brings(method, recipe, noise, teacher):
    distill = {"method": method}
    if "crd" in method or "wcord" in method:
        distill["negatives"] = 6
    task = make_task(recipe(distill=distill), noise, teacher)
    before = copy.deepcopy(task.state_dict())
    line = task.iterate(0, measure=True)
    assert all(math.isfinite(value) for value in line.values())
    assert line["method"] != 0
    weights = [n for n, _ in task.method.named_parameters()]
    still = [
        n for n in weights if torch.equal(before[f"method.{n}"], task.state_dict()[f"method.{n}"])
    ]
    assert not still
    assert ("kl_divergence" in line) == method.endswith("+kd")
    settings = task.recipe.distill
    ramp = task.draws(0)["ramp"].item()
    expected = settings.ce_weight * line["cross_entropy"] + settings.weight * ramp * line["method"]
    expected += settings.kd_weight * line.get("kl_divergence", 0)
    assert line["loss"] == pytest.approx(expected, rel=1e-5)


def test_ramp_reaches_the_weight_after_the_warm_up(recipe, noise, teacher):
    task = make_task(recipe(distill={"method": "dkd", "warmup": 4.0}), noise, teacher)
    assert [task.draws(i)["ramp"].item() for i in (0, 4, 5, 15, 400)] == [0.25, 0.25, 0.5, 1, 1]


def test_restored_state_goes_on_with_the_same_bits(recipe, noise, teacher):
    settings = recipe(
        distill={"method": "crd+kd", "negatives": 6},
        data={"augment": "crop", "flip": True},
        training={"mixup": 0.8, "cutmix": 1.0},
    )
    whole, cut = (make_task(settings, noise, teacher) for _ in range(2))
    for iteration in range(4):
        whole.iterate(iteration)
    for iteration in range(2):
        cut.iterate(iteration)
    again = make_task(settings, noise, teacher)
    again.load_state_dict(cut.state_dict())
    for iteration in (2, 3):
        again.iterate(iteration)
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())


def test_drop_path_is_a_function_of_the_iteration(recipe, noise):
    student = {"name": "timm:deit_tiny_patch16_224", "patch_size": 8, "drop_path": 0.5}
    settings = recipe(student=student, training={"optimiser": "adamw", "lr": 1e-3})
    first, second = (make_task(settings, noise) for _ in range(2))
    first.iterate(0)
    torch.rand(5)
    second.iterate(0)
    ours, theirs = first.state_dict(), second.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    groups = first.player.optimiser.param_groups
    assert [group["weight_decay"] for group in groups] == [5e-4, 0]
    assert all(p.ndim < 2 for p in groups[1]["params"])


def test_mixed_labels_are_weighted_by_the_share(recipe, noise):
    task = make_task(recipe(training={"mixup": 1.0, "label_smoothing": 0.2}), noise)
    logits, labels = torch.randn(8, 4), torch.arange(8) % 4
    inputs = {"labels": labels, "share": torch.tensor([0.3])}
    soft = 0.3 * F.one_hot(labels, 4) + 0.7 * F.one_hot(labels.flip(0), 4)
    soft = 0.8 * soft + 0.2 / 4
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    assert task._cross_entropy(logits, inputs).item() == pytest.approx(expected.item(), rel=1e-5)


def test_rates(recipe):
    steps = recipe(training={"epochs": 240, "lr": 0.05}).training
    rates = [rate_at(epoch * 782 + k, 782, steps) for epoch, k in ((0, 0), (149, 781), (150, 0))]
    assert rates == pytest.approx([0.05, 0.05, 0.005])
    assert rate_at(239 * 782, 782, steps) == pytest.approx(0.05e-3)
    cosine = {"epochs": 11, "lr": 1.0, "schedule": "cosine", "warmup": 1.0}
    cosine = recipe(training=cosine).training
    assert rate_at(0, 10, cosine) == pytest.approx(0.1)
    assert rate_at(10, 10, cosine) == pytest.approx(1)
    assert rate_at(60, 10, cosine) == pytest.approx(0.505)
    assert rate_at(110, 10, cosine) == pytest.approx(0.01)


def test_the_rate_is_what_the_optimiser_steps_by(recipe):
    layer = torch.nn.Linear(2, 1, bias=False)
    player = StudentPlayer({"student": layer}, recipe(training={"weight_decay": 0.0}).training)
    for rate in (0.5, 0.25):
        before = layer.weight.detach().clone()
        player.optimiser.state.clear()
        player.set_rate(torch.tensor(rate))
        player.descend(layer.weight.sum())
        assert torch.allclose(before - layer.weight, torch.full((1, 2), rate))


def test_accuracy_is_counted_image_by_image(noise):
    classifier = build_classifier(Shape("resnet8x4", tuple("abcdefgh"), 16)).train()
    noise = noise.__class__(noise.images, torch.arange(40) % 8, tuple("abcdefgh"))
    found = accuracy(classifier, noise, CPU, "fp32")
    assert classifier.training
    with torch.no_grad():
        logits = classifier.eval()(to_float(noise.images)).logits.double()
    first = fifth = entropy = 0
    for row, label in zip(logits, noise.labels.tolist(), strict=True):
        rank = (row > row[label]).sum()
        first, fifth = first + (rank < 1), fifth + (rank < 5)
        entropy -= row.log_softmax(0)[label]
    assert found["top1"] == pytest.approx(first.item() / 40)
    assert found["top5"] == pytest.approx(fifth.item() / 40)
    assert found["cross_entropy"] == pytest.approx(entropy.item() / 40, rel=1e-5)


def test_what_does_not_go_together_is_said(recipe, noise, teacher):
    for settings, taught, words in (
        ({"distill": {"method": "kd"}}, None, "--method kd: needs a teacher"),
        ({}, teacher, "leave --teacher out"),
        ({"distill": {"method": "none", "kd_weight": 1.0}}, None, "needs a teacher"),
    ):
        with pytest.raises(GanVkdError, match=words):
            make_task(recipe(**settings), noise, taught)


def test_a_teacher_of_other_classes_gives_features_alone(recipe, noise, teacher):
    teacher.same_classes = False
    with pytest.raises(
        GanVkdError, match="--method kd: the teacher has no logits: train a teacher"
    ):
        make_task(recipe(distill={"method": "kd"}), noise, teacher)
    with pytest.raises(GanVkdError, match=r"distill\.kd_weight: the teacher has no logits"):
        make_task(recipe(distill={"method": "vkd", "kd_weight": 1.0}), noise, teacher)
    assert make_task(recipe(distill={"method": "vkd"}), noise, teacher).iterate(0) == {}


class OneMap(torch.nn.Module):
    """Gives its last map alone, as a teacher of features does."""

    def forward(self, images):
        maps = (torch.ones(len(images), 3, 2, 2),)
        return Outputs(None, torch.ones(len(images), 3), maps, maps)


@pytest.mark.parametrize("method", ["at", "nst", "vid", "reviewkd"])
def test_stages_are_not_compared_with_a_single_map(method, recipe, noise):
    with pytest.raises(GanVkdError, match=rf"^--method {method}: .* teacher gives its last map"):
        make_task(recipe(distill={"method": method}), noise, OneMap())
    assert make_task(recipe(distill={"method": "sp"}), noise, OneMap()).iterate(0) == {}


def test_classes_are_balanced_where_asked(recipe, noise):
    rare = torch.tensor([0] * 36 + [1] * 4)
    images = ImageSet(noise.images, rare, ("a", "b"))
    for balance, expected in (("classes", 16), ("none", 4)):
        task = make_task(recipe(data={"balance": balance}), images)
        rows = torch.cat([task.draws(i)["rows"] for i in range(5 if balance == "none" else 4)])
        assert rare[rows].sum() == expected


def test_the_second_head_learns_from_labels_where_nothing_else_teaches_it(recipe, noise):
    student = {"name": "timm:deit_tiny_distilled_patch16_224", "patch_size": 8}
    task = make_task(recipe(student=student, training={"optimiser": "adamw", "lr": 1e-3}), noise)
    head = task.student.network.model.head_dist.weight
    before = head.detach().clone()
    task.iterate(0)
    moved = (head - before).abs()  # by Adam's first step, not by the decay alone
    assert moved.median() > 5e-4


def test_networks_that_draw_are_known():
    from timm.layers import DropPath

    for module, expected in (
        (torch.nn.Dropout(0.1), True),
        (torch.nn.Dropout(0.0), False),
        (DropPath(0.1), True),
        (DropPath(0.0), False),
        (torch.nn.BatchNorm2d(3), False),
    ):
        assert draws_itself(torch.nn.Sequential(module)) is expected


def test_a_run_goes_on_with_its_own_teacher_alone(recipe, noise, teacher):
    task = make_task(recipe(distill={"method": "kd"}), noise, teacher)
    state = task.state_dict()
    task.load_state_dict(state)
    task.load_state_dict({n: t for n, t in state.items() if not n.startswith("teacher")})
    with torch.no_grad():
        next(teacher.parameters()).add_(1)
    other = make_task(recipe(distill={"method": "kd"}), noise, teacher)
    with pytest.raises(GanVkdError, match=r"^--teacher .*other weights than the run began with"):
        other.load_state_dict(state)
