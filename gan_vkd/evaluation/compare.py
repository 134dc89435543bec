"""Results side by side: the differences and their intervals, under one protocol."""

import json
import shlex
from pathlib import Path
from typing import Any

from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.metrics import Metric, as_json

# What two results may differ in and still be compared.
OWN = ("judged", "run", "checkpoint", "latent_seed", "training", "training_count", "versions")
OWN += ("extractor_is_the_teacher", "unseen", "unseen_count", "held_out", "reference", "intervals")
OWN += ("judged_compression", "reference_compression", "class_proportions")

INTERVALS = "95 %, of the sampling of images against this reference, not of the training seed"
INDEPENDENT = "samples taken as independent"
PAIRED = (
    "samples of one latent seed, taken as independent: right for unrelated generators, too wide "
    "for related ones, such as checkpoints of one run, whose samples are alike pair by pair"
)


def newest_result(run: Path) -> Path | None:
    """The JSON file that `gan-vkd eval` wrote last in a run; None where there is none."""
    files = sorted((run / "eval").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return files[-1] if files else None


def read_result(path: Path) -> dict:
    """A result of `gan-vkd eval`: a JSON file, or a run's newest.

    Raises:
        GanVkdError: nothing there, or something else.
    """
    if path.is_dir():
        newest = newest_result(path)
        if newest is None:
            raise GanVkdError(
                f"{path}: not evaluated yet: run gan-vkd eval {shlex.quote(str(path))}"
            )
        path = newest
    try:
        result = json.loads(path.read_text())
        for figures in result["metrics"].values():
            Metric(**figures)
        result["extractor"], result["protocol"]["judged_count"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GanVkdError(f"{path}: not a result of gan-vkd eval ({error!r})") from None
    return result


def compare(first: Path, second: Path) -> dict:
    """The second result's metrics minus the first one's.

    An interval is for fresh samples of both sides against the same real images, which are held
    fixed; the training seed is not in it. The variance of a difference is taken as the sum of both,
    which assumes samples drawn independently. Under one latent seed sample i of both comes from one
    latent: what unrelated generators make of it is as good as independent, but related ones
    (checkpoints of one run, runs from one initialisation) make alike images of it. Their errors
    have much in common, the difference varies less than the sum says, and the interval is too wide.
    `tests/evaluation/test_compare.py` measures both.

    Args:
        first: a JSON file, or a run with one.
        second: the same.

    Returns:
        `extractor`, `files`, `intervals`, what they cover and assume, `warning` where both are of
        one run under one latent seed, and `metrics`: for each metric `first`, `second` and
        `difference`, as in results; no interval where one of the two has none.

    Raises:
        GanVkdError: no results, or of two protocols.
    """
    one, other = read_result(first), read_result(second)
    _require_one_protocol(one, other, f"--compare {first} {second}")
    compared = {}
    for name in one["metrics"]:
        a, b = (Metric(**result["metrics"].get(name, {"value": None})) for result in (one, other))
        difference = Metric(None)
        if a.value is not None and b.value is not None:
            change = b.value - a.value
            difference = Metric(change)
            if a.low is not None and b.low is not None:
                width = (((a.high - a.low) / 2) ** 2 + ((b.high - b.low) / 2) ** 2) ** 0.5
                difference = Metric(change, change - width, change + width)
        compared[name] = as_json({"first": a, "second": b, "difference": difference})
    paired = _common(one, other, "latent_seed")
    return {
        "extractor": one["extractor"],
        "files": {"first": str(first), "second": str(second)},
        "intervals": f"{INTERVALS}; {INDEPENDENT if paired is None else PAIRED}",
        "warning": None if paired is None else _one_run(one, other, paired),
        "metrics": compared,
    }


def _common(one: dict, other: dict, key: str) -> Any:
    """The value of `key` in both protocols; None if they differ or lack it."""
    value = one["protocol"].get(key)
    return value if value == other["protocol"].get(key) else None


def _one_run(one: dict, other: dict, seed: int) -> str | None:
    run = _common(one, other, "run")
    if run is None:
        return None
    return (
        f"Both results are of {run} with latent seed {seed}: the intervals of the differences are "
        f"too wide. Evaluate one of them again with --seed {seed + 1} for exact ones."
    )


def _require_one_protocol(one: dict, other: dict, what: str) -> None:
    first, second = (
        {"extractor": result["extractor"], **result["protocol"]} for result in (one, other)
    )
    for key in dict.fromkeys([*first, *second]):
        if key not in OWN and first.get(key) != second.get(key):
            raise GanVkdError(
                f"{what}: different protocols: {key} is {first.get(key)!r} in one and "
                f"{second.get(key)!r} in the other: evaluate both in the same way"
            )
