"""How a recipe comes about: layers of settings (preset < file < --set < flag), each checked."""

import difflib
import re
import reprlib
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from gan_vkd.config.core import Group, Recipe
from gan_vkd.config.registry import AUGMENTATIONS, DISTILLATIONS, TERMS
from gan_vkd.errors import GanVkdError

R = TypeVar("R", bound=Group)  # a kind of recipe

PRESETS = ("tiny", "lab", "cifar")
DEFAULT_PRESET = "cifar"

TOLD_APART = {"method": "vkd", "kind": "biggan"}  # what decides on a group's fields; defaults

LARGEST_RECIPE = 2**18  # characters; a complete one has about 1,500


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: `2e-4` is one (YAML 1.1 wants a dot in it); no aliases, no name twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuses aliases, of which a few lines unfold to gigabytes; recipes need none."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias (*{self.peek_event().anchor}): write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Refuses a name that is there twice, whose first value would be lost."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                again = key.start_mark.line + 1
                raise yaml.YAMLError(f"{key.value} is there twice, again in line {again}: keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


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
    text = files("gan_vkd").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
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
        raise GanVkdError(f"--config {path}: cannot be read ({error})") from None
    if not isinstance(layer, dict):
        raise GanVkdError(f"--config {path}: not a recipe (groups of settings, as in --preset)")
    return layer


def set_layer(assignments: tuple[str, ...]) -> dict:
    """`group.field=value` texts → settings; values are read as YAML.

    Names may have more parts, as in `terms.lecam.weight=0.3`.

    Raises:
        GanVkdError: a text of another form.
    """
    layer: dict = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        if not (equals and len(parts) > 1 and all(parts)):
            raise GanVkdError(f"--set {text}: write group.field=value, as in --set gan.channels=32")
        settings = read_yaml(value, f"--set {text}")
        for part in reversed(parts):
            settings = {part: settings}
        layer = merge(layer, settings)
    return layer


def with_layer(text: str) -> dict:
    """`NAME` or `NAME:field=value,field=value` → the settings that add a term to a run.

    A method of distillation goes under `distill`, any other term under `terms`; values are YAML,
    and commas within brackets, or before what is no `field=value`, belong to them.

    Raises:
        GanVkdError: an unknown name, or a text of another form.
    """
    where = f"--with {text}"
    name, fields = _named_fields(where, text)
    if name in DISTILLATIONS:
        return {"distill": {"method": name, **fields}}
    if name in AUGMENTATIONS:
        raise GanVkdError(f"{where}: {name} is an augmentation: --augment {name}")
    if name not in TERMS:
        known = [*TERMS, *DISTILLATIONS]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise GanVkdError(f"{where}: unknown term {name!r}; {hint}")
    return {"terms": {name: fields}}


def discriminator_layer(text: str) -> dict:
    """`NAME` or `NAME:field=value,field=value` → the settings of a run's discriminator.

    Raises:
        GanVkdError: a text of another form.
    """
    name, fields = _named_fields(f"--discriminator {text}", text)
    return {"discriminator": {"kind": name, **fields}}


def _named_fields(where: str, text: str) -> tuple[str, dict]:
    """The name and the fields of `NAME:field=value,field=value`."""
    name, _, rest = text.partition(":")
    fields: dict = {}
    for part in re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|,(?![^,]*=)|[^,])+", rest):
        field, equals, value = part.partition("=")
        if not equals or not field.strip():
            raise GanVkdError(f"{where}: write NAME:field=value,field=value")
        fields[field.strip()] = read_yaml(value, where)
    return name, fields


def merge(below: dict, above: dict) -> dict:
    """Lay one layer over another, group by group and field by field.

    Another method of distillation, or kind of discriminator, has other fields, so it takes nothing
    from below.
    """
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        both = isinstance(under, dict) and isinstance(value, dict)
        for key, default in TOLD_APART.items():
            if both and key in value and value[key] != under.get(key, default):
                both = False
        merged[name] = merge(under, value) if both else value
    return merged


def resolve(layers: list[tuple[str, dict]], kind: type[R] = Recipe) -> R:
    """Check every layer by itself, then all of them together, later ones over earlier ones.

    Args:
        layers: (where it comes from, settings).
        kind: the class of the recipe.

    Raises:
        GanVkdError: one line that names the layer, the field, what is wrong and, for an unknown
            field, the nearest known one.
    """
    merged: dict = {}
    for where, layer in layers:
        _validated(where, layer, kind, alone=True)
        merged = merge(merged, layer)
    return _validated("the recipe", merged, kind, alone=False)


def _validated(where: str, settings: dict, kind: type[R], alone: bool) -> R:
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        problems = [p for p in error.errors() if p["loc"] or not alone]
        if not problems:  # only fields that must fit each other, which need all layers
            return kind()
        raise GanVkdError(f"{where}: {_explain(problems[0], kind)}") from None


def _explain(problem: dict, kind: type[R]) -> str:
    location = [str(part) for part in problem["loc"]]
    while problem["type"] == "nested":  # of settings that are told apart by a name
        outer, problem = location, problem["ctx"]["problem"]
        location = outer + [str(part) for part in problem["loc"]]
    field = ".".join(location[:3] if location[:1] == ["terms"] else location[:2])
    if problem["type"] == "extra_forbidden":
        known = _known_fields(kind)
        if field in known:  # of another method, or kind
            return f"{field}: no field of the {location[0]} that is chosen: choose and set together"
        close = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
        if not close and len(location) == 2:  # the right name in another group, perhaps
            close = [k for k in known if k.endswith(f".{location[1]}")]
        return f"{field}: no such field" + (f"; did you mean {close[0]}?" if close else "")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "unknown_name":
        return f"{field}: {message}"
    got = f" (got {reprlib.repr(problem['input'])})" if field else ""
    return f"{field}: {message}{got}" if field else message


def _known_fields(kind: type[R]) -> list[str]:
    groups = kind.fields_of_groups()
    if "terms" in groups:
        groups |= {f"terms.{name}": TERMS[name].Settings.model_fields for name in TERMS}
    return [*groups, *(f"{g}.{f}" for g, fields in groups.items() for f in fields)]


def dump(recipe: Group) -> str:
    """The complete recipe as YAML, which `resolve` reads back to the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def read_config(run: Path, kind: type[R] = Recipe) -> R:
    """The recipe that a run was started with.

    Runs of versions without `data.channels` had three of them, whatever the images.

    Raises:
        GanVkdError: no such run, one of the other kind, or a damaged config.
    """
    path, layer = run / "config.yaml", _config_layer(run)
    classifies = "student" in layer
    if classifies != ("student" in kind.model_fields):
        of, lacks = ("classify", "generator") if classifies else ("train", "classifier")
        raise GanVkdError(f"{run}: a run of gan-vkd {of}, which has no {lacks}")
    return resolve([(str(path), merge({"data": {"channels": 3}}, layer))], kind)


def trains_classifier(run: Path) -> bool:
    """Whether a run is one of `gan-vkd classify`.

    Raises:
        GanVkdError: no such run, or a damaged config.
    """
    return "student" in _config_layer(run)


def _config_layer(run: Path) -> dict:
    path = run / "config.yaml"
    if not path.is_file():
        raise GanVkdError(f"{run}: not a run directory (no config.yaml in it)")
    return file_layer(path)


def continued(run: Path, layers: list[tuple[str, dict]], kind: type[R] = Recipe) -> R:
    """The recipe to go on with: the run's own, of which only the iterations may change.

    Args:
        run: its directory.
        layers: what flags and files say, as `resolve` takes them.
        kind: the class of the recipe.

    Raises:
        GanVkdError: no such run, or a setting that contradicts it.
    """
    old = read_config(run, kind).model_dump()
    recipe = resolve([(f"{run}/config.yaml", old), *layers], kind)
    new = recipe.model_dump()
    for group, fields in old.items():
        both = {**fields, **new[group]}  # terms, and fields of other methods, may be in one alone
        for field in sorted(both, key=lambda name: name not in TOLD_APART):
            before, after = (of.get(field) for of in (fields, new[group]))
            if before != after and (group, field) != ("training", "iterations"):
                if field not in fields:
                    change = f"is not in {run} and can't be added"
                elif field not in new[group]:
                    change = f"is {before!r} in {run} and can't be left out"
                else:
                    change = f"is {before!r} in {run} and can't become {after!r}"
                raise GanVkdError(
                    f"--resume: {group}.{field} {change}: drop it, or start a new run"
                )
    return recipe
