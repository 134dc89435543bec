"""The interface between the training loop and a task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from gan_vkd.engine.health import Limit


@dataclass(frozen=True)
class Schedule:
    """The schedule, in iterations; 0: never.

    Attributes:
        iterations: in all.
        log_every, sample_every, checkpoint_every, eval_every: between two of each.
        eval_last: whether the figures of the last iteration are taken whatever `eval_every`.
    """

    iterations: int
    log_every: int
    sample_every: int
    checkpoint_every: int
    eval_every: int
    eval_last: bool = False

    def evaluates(self, iteration: int) -> bool:
        """Whether figures are taken after so many iterations."""
        if not self.eval_every:
            return False
        return iteration % self.eval_every == 0 or (self.eval_last and iteration == self.iterations)


@dataclass(frozen=True)
class Point:
    """A point of the curve.

    Attributes:
        figures: by name; None: undefined.
        protocol: what they were measured by, for the curve's file.
        source: who measured, for TensorBoard's tags.
        score: what a checkpoint is chosen by, lower is better; None where none is chosen.
        keep: writes what was measured to a file, for the best one.
    """

    figures: dict[str, float | None]
    protocol: dict
    source: str
    score: str | None
    keep: Callable[[Path], None]


class Task(Protocol):
    """A training that the loop can run: everything random in it is a function of the iteration.

    Attributes:
        schedule: when what happens.
        images_per_iteration: for the log's images a second.
        artefact: the name of the file in a run's directory that `export` writes.
        shown: values of a log line that stand beside the progress bar, and what they are called.
        limits: below which values the training is no longer alive.
        remedy: what to change where its numbers go wrong, in words that follow "with".
    """

    schedule: Schedule
    images_per_iteration: int
    artefact: str
    shown: dict[str, str]
    limits: tuple[Limit, ...]
    remedy: str

    def iterate(self, iteration: int, measure: bool = False) -> dict[str, float]:
        """One iteration, from 0; with `measure` its values for the log."""

    def probe(self) -> dict[str, float]:
        """Values for the log that are measured without training."""

    def picture(self, iteration: int) -> Image.Image | None:
        """A picture of the state after `iteration` iterations, or None."""

    def point(self, iteration: int) -> Point | None:
        """The state measured on data after `iteration` iterations; None where it is not."""

    def export(self, iteration: int, path: Path) -> None:
        """Write the artefact."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that changes in training, as flat named tensors on the CPU."""

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the result of `state_dict`; training continues with the same bits."""
