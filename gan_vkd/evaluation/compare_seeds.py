"""Two recipes compared over training seeds: what differs by more than seeds do."""

from pathlib import Path

from gan_vkd.config.layers import read_config
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.compare import read_result, require_one_protocol
from gan_vkd.evaluation.judged import is_run
from gan_vkd.evaluation.seeds import LEVEL, difference_over_seeds, over_seeds, seeds_to_tell

INTERVALS = (
    f"{LEVEL:.0%}, of the mean over training seeds; seeds to tell: whose interval would exclude 0 "
    "four times in five if difference and deviation are as found here"
)


def holds_runs(path: Path) -> bool:
    """Whether a path is a folder of runs, not a run."""
    return path.is_dir() and not is_run(path) and any(map(is_run, path.iterdir()))


def compare_seeds(first: Path, second: Path) -> dict:
    """The second recipe's figures less the first one's, over the seeds of their runs.

    Runs pair where both recipes have a run of one training seed, which draws the photographs too;
    where all do, the interval is that of paired differences, and else Welch's.

    Args:
        first: a folder of evaluated runs, one a seed.
        second: the same.

    Returns:
        `extractor`, `files`, `seeds` of both, `paired`, `intervals`, and `metrics`: for each metric
        `first` and `second` with `mean`, `deviation` and `count`, `difference` with `mean`, `low`
        and `high`, and `seeds_to_tell`, None where that is not known.

    Raises:
        GanVkdError: a run that was not evaluated, one seed twice, or two protocols.
    """
    results = {side: _by_seed(folder) for side, folder in (("a", first), ("b", second))}
    one, other = results["a"], results["b"]
    everyone = [*one.items(), *other.items()]
    for _, result in everyone[1:]:
        require_one_protocol(everyone[0][1], result, f"--compare {first} {second}")
    metrics = {}
    for name in everyone[0][1]["metrics"]:
        a, b = (
            {
                seed: value
                for seed, result in side.items()
                if (value := result["metrics"].get(name, {}).get("value")) is not None
            }
            for side in (one, other)
        )
        difference = difference_over_seeds(b, a)
        metrics[name] = {
            "first": vars(over_seeds(a)) if a else None,
            "second": vars(over_seeds(b)) if b else None,
            "difference": difference and vars(difference),
            "seeds_to_tell": difference and seeds_to_tell(difference),
        }
    return {
        "extractor": everyone[0][1]["extractor"],
        "files": {"first": str(first), "second": str(second)},
        "seeds": {"first": sorted(one), "second": sorted(other)},
        "paired": one.keys() == other.keys(),
        "intervals": INTERVALS,
        "metrics": metrics,
    }


def _by_seed(folder: Path) -> dict[int, dict]:
    """The newest result of each run in a folder, by training seed."""
    found: dict[int, dict] = {}
    for run in sorted(filter(is_run, folder.iterdir())):
        seed = read_config(run).training.seed
        if seed in found:
            raise GanVkdError(f"--compare {folder}: two runs of training seed {seed}: move one out")
        found[seed] = read_result(run)
    return found
