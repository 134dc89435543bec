"""Results side by side: the differences and their intervals, under one protocol."""

import json
from pathlib import Path

from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.metrics import Metric, as_json

# What two results may differ in and still be compared.
OWN = ("judged", "checkpoint", "latent_seed", "training", "training_count", "versions")
OWN += ("extractor_is_the_teacher", "unseen", "unseen_count", "held_out", "reference", "intervals")


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
            raise GanVkdError(f"{path}: not judged yet: gan-vkd eval {path}")
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
    """The second result's figures less the first one's.

    Two generators' samples are drawn independently, so a difference's variance is the sum of
    both. Only the sampling of images is in it, not the training seed.

    Args:
        first: a JSON file, or a run with one.
        second: the same.

    Returns:
        `extractor`, `files`, and `metrics`: for each metric `first`, `second` and `difference`,
        as in results; no interval where one of the two has none.

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
    return {
        "extractor": one["extractor"],
        "files": {"first": str(first), "second": str(second)},
        "metrics": compared,
    }


def _require_one_protocol(one: dict, other: dict, what: str) -> None:
    first, second = (
        {"extractor": result["extractor"], **result["protocol"]} for result in (one, other)
    )
    for key in dict.fromkeys([*first, *second]):
        if key not in OWN and first.get(key) != second.get(key):
            raise GanVkdError(
                f"{what}: two protocols: {key} is {first.get(key)!r} in one and "
                f"{second.get(key)!r} in the other: judge both alike"
            )
