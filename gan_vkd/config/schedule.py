"""Numbers that may change in the course of a run."""

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from gan_vkd.config.group import Group

SCHEDULE = "a number, or {first: NUMBER, last: NUMBER, iterations: COUNT}"


class Cosine(Group):
    """From `first` to `last` by half a cosine over the first `iterations` of a run; then `last`."""

    first: float
    last: float
    iterations: int = Field(gt=0, le=2**31)

    def at(self, iteration: int) -> float:
        """The value in an iteration, from 0."""
        share = min(iteration / self.iterations, 1.0)
        return self.last + (self.first - self.last) * (1 + math.cos(math.pi * share)) / 2

    def __str__(self) -> str:
        return f"{self.first:g} to {self.last:g} over {self.iterations:,} iterations"


def changing(**bounds: float) -> Any:
    """The type of a field: a number within bounds, or a `Cosine` between two of them."""

    def check(value: Any, number: Callable[[Any], float]) -> float | Cosine:
        if isinstance(value, dict):
            try:
                value = Cosine.model_validate(value)
            except ValidationError:
                raise PydanticCustomError("schedule", SCHEDULE) from None
        if not isinstance(value, Cosine):
            return number(value)
        number(value.first)
        number(value.last)
        return value

    def plain(value: float | Cosine) -> float | dict:
        return value.model_dump() if isinstance(value, Cosine) else value

    bounded = Field(**bounds)
    return Annotated[float, bounded, WrapValidator(check), PlainSerializer(plain)]


def value_at(value: float | Cosine, iteration: int) -> float:
    """What a `changing` field is in an iteration, from 0."""
    return value.at(iteration) if isinstance(value, Cosine) else value
