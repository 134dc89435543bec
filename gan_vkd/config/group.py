"""Groups of settings, and those whose fields depend on a name."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from gan_vkd.config.registry import Registry


class Group(BaseModel):
    """A frozen group of settings that knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def settings_of(registry: Registry, name: Any, value: Any, within: tuple[str, ...]) -> Group:
    """Settings told apart by a name: checked by the class that the registry has under it.

    Args:
        registry: of the class.
        name: in the registry.
        value: settings, or None for the defaults.
        within: where they stand, below the field, for messages.
    """
    try:
        settings = registry[name].Settings
    except ValueError as error:
        raise PydanticCustomError("unknown_name", "{reason}", {"reason": str(error)}) from None
    if isinstance(value, settings):
        return value
    try:
        return settings.model_validate({} if value is None else value)
    except ValidationError as error:
        problem = error.errors()[0]
        problem["loc"] = (*within, *problem["loc"])
        raise PydanticCustomError("nested", "{problem}", {"problem": problem}) from None


def told_apart(registry: Registry, field: str, default: str) -> Callable[[Any], Group]:
    """The check of a group of settings whose `field` says which entry of the registry has them."""

    def check(value: Any) -> Group:
        name = value.get(field, default) if isinstance(value, dict) else default
        return value if isinstance(value, Group) else settings_of(registry, name, value, ())

    return check
