"""A recipe with the meaning, range and default of each field as comments."""

from typing import Any, get_args

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gan_vkd.config.core import LARGEST, Group, Recipe

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def described(recipe: Recipe) -> str:
    """The complete recipe as YAML that `--config` takes, a comment on each line."""
    lines = []
    for name in Recipe.model_fields:
        value = getattr(recipe, name)
        if name == "terms":
            lines += [f"# {Recipe.model_fields[name].description}", *_terms(value)]
            continue
        lines += [f"# {_first_line(type(value))}", f"{name}:", *_fields(value, "  ")]
    return "\n".join(lines) + "\n"


def _terms(terms: dict[str, Group]) -> list[str]:
    if not terms:
        return ["terms: {}"]
    lines = ["terms:"]
    for name, settings in terms.items():
        fields = _fields(settings, "    ")
        lines += [f"  {name}:", *fields] if fields else [f"  {name}: {{}}"]
    return lines


def _fields(group: Group, indent: str) -> list[str]:
    values = group.model_dump(mode="json")
    lines = []
    for name, info in type(group).model_fields.items():
        text = f"{indent}{name}: {_yaml(values[name])}"
        lines.append(f"{text:<40} # {_comment(info)}")
    return lines


def _comment(info: FieldInfo) -> str:
    parts = [info.description, _range(info)]
    if info.default is not PydanticUndefined:
        default = list(info.default) if isinstance(info.default, tuple) else info.default
        parts.append(f"default {_yaml(default)}")
    return "; ".join(part for part in parts if part)


def _range(info: FieldInfo) -> str:
    choices = [str(choice) for choice in _choices(info.annotation)]
    bounds = [
        f"{sign} {bound}"
        for limit in _limits(info)
        for key, sign in BOUNDS.items()
        if (bound := getattr(limit, key, None)) is not None and abs(bound) < LARGEST
    ]
    return ", ".join(choices) if choices else ", ".join(bounds)


def _choices(annotation: Any) -> list:
    """The values of a Literal."""
    return [a for a in get_args(annotation) if isinstance(a, str | int) and a is not None]


def _limits(info: FieldInfo) -> list:
    """The bounds of a field, or of the type within `type | None`."""
    inner = [m for part in get_args(info.annotation) for m in getattr(part, "__metadata__", ())]
    return [*info.metadata, *(limit for m in inner for limit in getattr(m, "metadata", [m]))]


def _yaml(value: Any) -> str:
    """On one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000)
    return text.removesuffix("...\n").strip()


def _first_line(group: type[Group]) -> str:
    return (group.__doc__ or "").splitlines()[0]
