"""Recipes: every setting of a run, checked, layered (preset < file < --set < flag), explained."""

import difflib
import re
import reprlib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gan_vkd.errors import GanVkdError

PRESETS = ("tiny", "lab", "cifar")
DEFAULT_PRESET = "cifar"
AUGMENTATIONS = ("color", "translation", "cutout")

LARGEST_RECIPE = 2**18  # characters; a complete one has about 1,500

Positive = Annotated[int, Field(gt=0, le=2**31)]
Count = Annotated[int, Field(gt=0, le=2**16)]  # of what takes memory
Widths = Annotated[tuple[Count, ...], Field(strict=False)]


class Group(BaseModel):
    """A frozen group of settings that knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSettings(Group):
    """What is trained on."""

    dataset: str = "cifar100"
    data_root: str | None = None
    subset: float = Field(1.0, gt=0, le=1)
    subset_draw: Literal["balanced", "uniform"] = "balanced"
    validation: float = Field(0.0, ge=0, le=0.5)  # of the subset, to choose a checkpoint by
    image_size: Literal[16, 32, 64] = 32
    augment: str = "translation,cutout"
    flip: bool = True
    skip_bad: bool = False

    @field_validator("augment")
    @classmethod
    def _known_policies(cls, value: str) -> str:
        for name in [] if value == "none" else value.split(","):
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
    """The two networks. Widths are multiples of `channels`; None gives BigGAN's flat shape."""

    channels: Count = 64
    z_dim: Count = 128
    generator_widths: Widths | None = None
    discriminator_widths: Widths | None = None
    generator_spectral_norm: bool = True


class TeacherSettings(Group):
    """The frozen network that D learns to predict."""

    spec: str = "clip"
    weights: str | None = None
    image_size: Annotated[int, Field(ge=16, le=1024)] | None = None


class DistillSettings(Group):
    """How D learns from the teacher."""

    projection: Literal["orthogonal", "orthogonal-exp", "linear", "svd", "identity"] = "orthogonal"
    normalise: Literal["none", "layernorm", "whiten", "whiten-iterative", "whiten-dataset"] = (
        "whiten"
    )
    rank: Positive | None = None
    distance: Literal["squared", "smooth-l1"] = "squared"
    shuffled: bool = False  # a control: each image gets the target of another
    weight: float = Field(8.0, ge=0, le=1e6)
    generated_every: Positive = 1


class TrainingSettings(Group):
    """The schedule. An iteration is `d_steps` steps of D and one of G."""

    iterations: Positive = 125_000
    batch_size: int = Field(50, ge=2, le=2**16)
    d_steps: Positive = 4
    d_lr: float = Field(2e-4, gt=0, le=10)
    g_lr: float = Field(2e-4, gt=0, le=10)
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    ema_start: int = Field(1_000, ge=0, le=2**31)
    log_every: Positive = 50
    sample_every: Positive = 1_000
    checkpoint_every: Positive = 1_000
    eval_every: int = Field(1_000, ge=0, le=2**31)  # 0: never
    eval_num: int = Field(1_000, ge=2, le=2**31)
    seed: int = Field(0, ge=0, lt=2**63)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    deterministic: bool = False


class EvaluationSettings(Group):
    """What `eval` does when no flag says otherwise."""

    num: int = Field(5_000, ge=2, le=2**31)
    reference: Literal["train", "test", "subset"] = "train"
    nearest_k: Positive = 5


class Recipe(Group):
    """A whole run."""

    data: DataSettings = DataSettings()
    gan: GanSettings = GanSettings()
    teacher: TeacherSettings = TeacherSettings()
    distill: DistillSettings = DistillSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _widths_fit(self) -> "Recipe":
        blocks = self.data.image_size.bit_length() - 2  # 3, 4, 5 for 16, 32, 64 pixels
        for name in ("generator_widths", "discriminator_widths"):
            widths = getattr(self.gan, name)
            if widths is not None and len(widths) != blocks:
                raise ValueError(
                    f"gan.{name}: {self.data.image_size} pixels take {blocks} of them, "
                    f"got {list(widths)}"
                )
        return self


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: `2e-4` is one (YAML 1.1 wants a dot in it); and no aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuses aliases, of which a few lines unfold to gigabytes; recipes need none."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias (*{self.peek_event().anchor}): write it out")
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML safely: no objects, no aliases, of bounded size and depth.

    Raises:
        GanVkdError: not YAML; `where` names the flag or file.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise GanVkdError(f"{where}: not YAML of a recipe (too many levels)") from None
    except Exception as error:  # its readers of numbers and dates raise whatever they trip over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GanVkdError(f"{where}: not YAML ({reason[:300]})") from None


def preset_layer(name: str) -> dict:
    """A preset's settings, as they stand in the package's YAML file."""
    text = files("gan_vkd").joinpath("presets", f"{name}.yaml").read_text()
    return read_yaml(text, f"--preset {name}")


def file_layer(path: Path) -> dict:
    """The settings of a YAML file.

    Raises:
        GanVkdError: unreadable, too large, or not a mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:  # it may be a pipe, or endless
            text = file.read(LARGEST_RECIPE + 1)
        if len(text) > LARGEST_RECIPE:
            raise GanVkdError(f"--config {path}: too large for a recipe")
        layer = read_yaml(text, f"--config {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise GanVkdError(f"--config {path}: can't be read ({error})") from None
    if not isinstance(layer, dict):
        raise GanVkdError(f"--config {path}: not a recipe (groups of settings, as in --preset)")
    return layer


def set_layer(assignments: tuple[str, ...]) -> dict:
    """`group.field=value` texts → settings; values are read as YAML.

    Raises:
        GanVkdError: a text of another form.
    """
    layer: dict = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        group, dot, field = name.strip().partition(".")
        if not (equals and dot and group and field):
            raise GanVkdError(f"--set {text}: write group.field=value, as in --set gan.channels=32")
        layer = merge(layer, {group: {field: read_yaml(value, f"--set {text}")}})
    return layer


def merge(below: dict, above: dict) -> dict:
    """Lay one layer over another, group by group."""
    merged = dict(below)
    for group, fields in above.items():
        both = isinstance(merged.get(group), dict) and isinstance(fields, dict)
        merged[group] = {**merged[group], **fields} if both else fields
    return merged


def resolve(layers: list[tuple[str, dict]]) -> Recipe:
    """Check every layer by itself, then all of them together, later ones over earlier ones.

    Args:
        layers: (where it comes from, settings).

    Raises:
        GanVkdError: one line that names the layer, the field, what is wrong and, for an unknown
            field, the nearest known one.
    """
    merged: dict = {}
    for where, layer in layers:
        _validated(where, layer, alone=True)
        merged = merge(merged, layer)
    return _validated("the recipe", merged, alone=False)


def _validated(where: str, settings: dict, alone: bool) -> Recipe:
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        problems = [p for p in error.errors() if p["loc"] or not alone]
        if not problems:  # only fields that must fit each other, which need all layers
            return Recipe()
        raise GanVkdError(f"{where}: {_explain(problems[0])}") from None


def _explain(problem: dict) -> str:
    location = [str(part) for part in problem["loc"]]
    field = ".".join(location[:2])
    if problem["type"] == "extra_forbidden":
        known = _known_fields()
        close = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
        if not close and len(location) == 2:  # the right name in another group, perhaps
            close = [k for k in known if k.endswith(f".{location[1]}")]
        return f"{field}: no such field" + (f"; did you mean {close[0]}?" if close else "")
    message = problem["msg"].removeprefix("Value error, ")
    got = f" (got {reprlib.repr(problem['input'])})" if field else ""
    return f"{field}: {message}{got}" if field else message


def _known_fields() -> list[str]:
    groups = Recipe.model_fields
    inner = [f"{g}.{f}" for g, info in groups.items() for f in info.annotation.model_fields]
    return [*groups, *inner]


def dump(recipe: Recipe) -> str:
    """The complete recipe as YAML, which `resolve` reads back to the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def read_config(run: Path) -> Recipe:
    """The recipe that a run was started with.

    Raises:
        GanVkdError: no such run, or a damaged config.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise GanVkdError(f"{run}: not a run directory (no config.yaml in it)")
    return resolve([(str(path), file_layer(path))])


def continued(run: Path, layers: list[tuple[str, dict]]) -> Recipe:
    """The recipe to go on with: the run's own, of which only the iterations may change.

    Args:
        run: its directory.
        layers: what flags and files say, as `resolve` takes them.

    Raises:
        GanVkdError: no such run, or a setting that contradicts it.
    """
    old = read_config(run).model_dump()
    recipe = resolve([(f"{run}/config.yaml", old), *layers])
    new = recipe.model_dump()
    for group, fields in old.items():
        for field, value in fields.items():
            changed = new[group][field]
            if changed != value and (group, field) != ("training", "iterations"):
                raise GanVkdError(
                    f"--resume: {group}.{field} is {value!r} in {run} and can't become "
                    f"{changed!r}: leave it out, or start a new run"
                )
    return recipe
