"""The recipe's groups of settings. Discriminators, terms and methods bring theirs themselves."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator
from pydantic.fields import FieldInfo

from gan_vkd.config.group import Group, settings_of, told_apart
from gan_vkd.config.registry import AUGMENTATIONS, DISCRIMINATORS, DISTILLATIONS, LOSSES, TERMS
from gan_vkd.config.schedule import Cosine, changing
from gan_vkd.config.sizes import SIZES, discriminator_sides, generator_sides, widths

LARGEST = 2**31

Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Count = Annotated[int, Field(gt=0, le=2**16)]  # of what takes memory
Widths = Annotated[tuple[Count, ...], Field(strict=False)]


class DataSettings(Group):
    """The training data."""

    dataset: str = Field(
        "cifar100", description="digits, cifar10, cifar100, or a folder, archive or array file"
    )
    data_root: str | None = Field(
        None, description="folder of cifar10 and cifar100; null: the user's cache"
    )
    subset: float = Field(
        1.0, gt=0, le=1, description="fraction of the training images that is used, drawn by seed"
    )
    subset_draw: Literal["balanced", "uniform"] = Field(
        "balanced", description="balanced: in the classes' proportions; uniform: whatever the class"
    )
    validation: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="fraction of the subset that is set aside to choose a checkpoint",
    )
    balance: Literal["none", "classes"] = Field(
        "none",
        description="none: a class is drawn as often as it has images; classes: all equally often",
    )
    image_size: int = Field(
        32,
        ge=SIZES.start,
        le=SIZES[-1],
        multiple_of=SIZES.step,
        description="side of the square images, pixels, a multiple of 16",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="channels per image, 1 or 3; null: 1 if all images are grey, else 3"
    )
    augment: str = Field(
        "translation,cutout",
        description="DiffAugment's policies, comma-separated (gan-vkd methods), or none",
    )
    flip: bool = Field(True, description="mirror training images at random; always off for digits")
    skip_bad: bool = Field(False, description="skip unreadable images and count them")

    @field_validator("channels", mode="before")
    @classmethod
    def _a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):  # true equals 1
            raise ValueError("1, 3 or null")
        return value

    @field_validator("augment")
    @classmethod
    def _known_policies(cls, value: str) -> str:
        names = [] if value == "none" else value.split(",")
        if len(set(names)) < len(names):
            raise ValueError("a policy is named twice")
        for name in names:
            if name in TERMS:
                raise ValueError(f"{name} is a term, not an augmentation: --with {name}")
            if name not in AUGMENTATIONS:
                known = ", ".join(AUGMENTATIONS)
                raise ValueError(
                    f"{name!r} is no policy: none, or a comma-separated part of {known}"
                )
        return value

    @property
    def policies(self) -> tuple[str, ...]:
        """`augment` as DiffAugment takes it."""
        return () if self.augment == "none" else tuple(self.augment.split(","))


class GanSettings(Group):
    """The two networks and their adversarial loss."""

    channels: Count = Field(64, description="unit of the networks' width (ch)")
    z_dim: Count = Field(128, description="latent dimension")
    generator_widths: Widths | Literal["narrow"] | None = Field(
        None,
        description="multiples of channels, for the first map and each block; null: BigGAN's "
        "flat shape; narrow: fewer channels at high resolutions",
    )
    discriminator_widths: Widths | Literal["narrow"] | None = Field(
        None, description="multiples of channels, one per block; null and narrow: as in G"
    )
    generator_spectral_norm: bool = Field(True, description="spectral norm in G (D always has it)")
    loss: str = Field("hinge", description="adversarial loss (gan-vkd methods)")

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        LOSSES.check(value)
        return value


class TeacherSettings(Group):
    """The frozen network that D learns to predict."""

    spec: str = Field("clip", description="a teacher of gan-vkd teacher list; none: plain BigGAN")
    weights: str | None = Field(
        None, description="file of weights; null: the published weights, from the cache or the hub"
    )
    image_size: Annotated[int, Field(ge=16, le=1024)] | None = Field(
        None, description="side of the teacher's input, pixels; null: its default"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="precision of the teacher; bf16 changes its features by a few per cent"
    )


class TrainingSettings(Group):
    """The schedule. An iteration is `d_steps` steps of D and one of G.

    Rates, `beta2` and `ema_half_life` are numbers or change: see `gan_vkd.config.schedule.Cosine`.
    """

    iterations: Positive = Field(125_000, description="total number of iterations")
    batch_size: int = Field(50, ge=2, le=2**16, description="real images per step of D")
    d_steps: Positive = Field(4, description="steps of D per iteration")
    d_lr: changing(gt=0, le=10) = Field(
        2e-4, description="Adam's learning rate for D, P and the terms"
    )
    g_lr: changing(gt=0, le=10) = Field(2e-4, description="Adam's learning rate for G")
    beta2: changing(ge=0, lt=1) = Field(
        0.999, description="Adam's decay of squared gradients, for both players"
    )
    ema_decay: float = Field(
        0.9999, ge=0, lt=1, description="decay of G's moving average, per iteration"
    )
    ema_half_life: changing(ge=0, le=LARGEST) | None = Field(
        None, description="of the average, iterations, in place of ema_decay; null: ema_decay"
    )
    ema_start: int = Field(
        1_000,
        ge=0,
        le=LARGEST,
        description="iteration from which G is averaged; before it the average is a copy",
    )
    log_every: Positive = Field(50, description="iterations between two lines of the log")
    sample_every: Positive = Field(1_000, description="iterations between two grids of samples")
    checkpoint_every: Positive = Field(1_000, description="iterations between two checkpoints")
    eval_every: int = Field(
        1_000,
        ge=0,
        le=LARGEST,
        description="iterations between two points of the curve of metrics; 0: none",
    )
    eval_num: int = Field(1_000, ge=2, le=LARGEST, description="samples evaluated per point")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="precision of the networks; auto: bf16 if the device supports it, else fp32",
    )
    deterministic: bool = Field(
        False, description="use deterministic kernels: the same bits on every run, on a GPU too"
    )
    compile: bool = Field(
        False, description="compile G, D and the augmentation: a slow start, then faster iterations"
    )
    init: str | None = Field(
        None,
        description="run or generator.safetensors whose weights are taken; null: random weights",
    )

    @property
    def changes(self) -> bool:
        """Whether a number of it changes in the course of a run."""
        return any(isinstance(value, Cosine) for _, value in self)


class EvaluationSettings(Group):
    """Defaults of `gan-vkd eval`."""

    num: int = Field(5_000, ge=2, le=LARGEST, description="number of samples that are evaluated")
    reference: Literal["train", "test", "subset"] = Field(
        "train", description="real images that samples are compared with"
    )
    nearest_k: Positive = Field(5, description="k of precision, recall, density and coverage")


_distillation = told_apart(DISTILLATIONS, "method", "vkd")
_discriminator = told_apart(DISCRIMINATORS, "kind", "biggan")


def _terms(value: Any) -> dict[str, Group]:
    if not isinstance(value, dict):
        raise ValueError("names of terms, each with its settings, as in {lecam: {weight: 0.3}}")
    given = {name: None if settings is False else settings for name, settings in value.items()}
    read = {name: settings_of(TERMS, name, settings, (name,)) for name, settings in given.items()}
    return {name: settings for name, settings in read.items() if value[name] is not False}


def _group(given: Any, name: str) -> dict:
    """A group of unchecked settings; empty where there is none."""
    group = given.get(name) if isinstance(given, dict) else None
    return group if isinstance(group, dict) else {}


class Recipe(Group):
    """A whole run."""

    data: DataSettings = DataSettings()
    gan: GanSettings = GanSettings()
    discriminator: Annotated[SerializeAsAny[Group], BeforeValidator(_discriminator)] = Field(
        default_factory=lambda: _discriminator({}),
        description="D; another kind has other fields.",
    )
    teacher: TeacherSettings = TeacherSettings()
    distill: Annotated[SerializeAsAny[Group], BeforeValidator(_distillation)] = Field(
        default_factory=lambda: _distillation({}),
        description="How D learns from the teacher; another method has other fields.",
    )
    terms: Annotated[dict[str, SerializeAsAny[Group]], BeforeValidator(_terms)] = Field(
        default_factory=dict,
        description="Terms beside the adversarial loss (gan-vkd methods); false leaves one out.",
    )
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @classmethod
    def fields_of_groups(cls) -> dict[str, dict[str, FieldInfo]]:
        """Every group's fields by name: of groups told apart by a name all there are."""
        groups = {name: info.annotation for name, info in cls.model_fields.items()}
        groups = {name: getattr(group, "model_fields", {}) for name, group in groups.items()}
        for group, registry in (("distill", DISTILLATIONS), ("discriminator", DISCRIMINATORS)):
            kinds = [registry[name].Settings.model_fields for name in registry]
            groups[group] = {name: info for fields in kinds for name, info in fields.items()}
        return groups

    @model_validator(mode="before")
    @classmethod
    def _ada_keeps_its_term(cls, given: Any) -> Any:
        """`terms: {adaptive: false}` beside the augmentation that brings it is refused."""
        data, terms = (_group(given, name) for name in ("data", "terms"))
        if terms.get("adaptive") is False and "ada" in str(data.get("augment")).split(","):
            raise ValueError(
                "terms.adaptive: comes with the augmentation ada: leave ada out of data.augment"
            )
        return given

    @model_validator(mode="after")
    def _widths_fit(self) -> "Recipe":
        """Checked against the image's size; `narrow` becomes numbers."""
        size, narrow = self.data.image_size, {}
        for name, sides in (
            ("generator_widths", generator_sides(size)),
            ("discriminator_widths", discriminator_sides(size)),
        ):
            given = getattr(self.gan, name)
            if given == "narrow":
                narrow[name] = widths(sides, given)
            elif given is not None and len(given) != len(sides):
                raise ValueError(
                    f"gan.{name}: {size} pixels take {len(sides)} of them, got {list(given)}: "
                    "give as many, or null or narrow, which follow from the size"
                )
        if not narrow:
            return self
        return self.model_copy(update={"gan": self.gan.model_copy(update=narrow)})
