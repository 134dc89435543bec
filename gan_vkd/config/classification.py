"""The recipe of `gan-vkd classify`; the defaults are the CRD benchmark's."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator
from pydantic.fields import FieldInfo

from gan_vkd.config.core import (
    LARGEST,
    Count,
    DataSettings,
    Group,
    Positive,
    TeacherSettings,
    Widths,
    settings_of,
)
from gan_vkd.config.registry import METHODS


class ClassifiedData(DataSettings):
    """What is trained on."""

    channels: Literal[3] = Field(3, description="of an image as the networks see it")
    augment: Literal["crop", "deit", "none"] = Field(
        "crop", description="crop: shifts by up to an eighth of the side; deit: DeiT's"
    )

    @field_validator("augment")
    @classmethod
    def _known_policies(cls, value: str) -> str:
        return value


class StudentSettings(Group):
    """The network that is trained."""

    name: str = Field(
        "resnet8x4", description="a network of the benchmark, timm:NAME, or efficientnet-lite0"
    )
    image_size: Annotated[int, Field(ge=16, le=1024)] | None = Field(
        None, description="pixels it is fed; null: the data's"
    )
    patch_size: Count | None = Field(None, description="of a transformer; null: the model's own")
    drop_path: float = Field(0.0, ge=0, lt=1, description="probability of leaving a branch out")
    pretrained: bool = Field(
        False, description="start from the published weights (timm:NAME, efficientnet-lite0)"
    )
    weights: str | None = Field(None, description="a file of those weights; null: from the hub")


class ClassifierTeacher(TeacherSettings):
    """The frozen network that teaches."""

    spec: str = Field(
        "none", description="file:PATH, timm:NAME, a teacher of gan-vkd teacher list; none: labels"
    )


class ClassificationSchedule(Group):
    """The schedule. An epoch is N / batch_size iterations, rounded up."""

    epochs: Positive = Field(240, description="epochs in all")
    batch_size: int = Field(64, ge=2, le=2**16, description="images a step")
    optimiser: Literal["sgd", "adamw"] = Field("sgd", description="SGD's momentum is .9")
    lr: Annotated[float, Field(gt=0, le=10)] | None = Field(
        None,
        description="null: .05, and .01 for mobilenetv2 and the shufflenets; AdamW: 5e-4 B / 512",
    )
    weight_decay: float = Field(5e-4, ge=0, le=10, description="of all parameters, or AdamW's")
    schedule: Literal["steps", "cosine"] = Field("steps", description="how the rate falls")
    milestones: Widths = Field(
        (150, 180, 210), description="epochs after which the rate is a tenth; of steps"
    )
    warmup: float = Field(0.0, ge=0, le=LARGEST, description="epochs of a rate that grows from 0")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the cross-entropy")
    mixup: float = Field(
        0.0, ge=0, le=100, description="Beta(a, a) of the share of a second image; a"
    )
    cutmix: float = Field(0.0, ge=0, le=100, description="Beta(a, a) of the pasted share; a")
    log_every: Positive = Field(100, description="iterations between two lines of the log")
    checkpoint_every: Positive = Field(2_000, description="iterations between two checkpoints")
    eval_epochs: Positive = Field(1, description="epochs between two points of the curve")
    seed: int = Field(0, ge=0, lt=2**63, description="of everything random")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the networks; auto: bf16 where the device has it, else fp32"
    )
    deterministic: bool = Field(False, description="the same bits every time, on a GPU too")


def _method(value: Any) -> Group:
    if isinstance(value, Group):
        return value
    name = value.get("method", "none") if isinstance(value, dict) else "none"
    return settings_of(METHODS, name, value, ())


class ClassificationRecipe(Group):
    """A whole run of `gan-vkd classify`."""

    data: ClassifiedData = ClassifiedData()
    student: StudentSettings = StudentSettings()
    teacher: ClassifierTeacher = ClassifierTeacher()
    distill: Annotated[SerializeAsAny[Group], BeforeValidator(_method)] = Field(
        default_factory=lambda: _method({}),
        description="How the student learns from the teacher; another method has other fields.",
    )
    training: ClassificationSchedule = ClassificationSchedule()

    @classmethod
    def fields_of_groups(cls) -> dict[str, dict[str, FieldInfo]]:
        """Every group's fields by name: of `distill` those of all methods."""
        groups = {name: info.annotation for name, info in cls.model_fields.items()}
        groups = {name: getattr(group, "model_fields", {}) for name, group in groups.items()}
        methods = [METHODS[name].Settings.model_fields for name in METHODS]
        groups["distill"] = {name: info for fields in methods for name, info in fields.items()}
        return groups
