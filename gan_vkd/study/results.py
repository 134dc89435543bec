"""What a study has found: figures by arm and seed, their spread, and differences over seeds."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

from scipy.stats import spearmanr

from gan_vkd.evaluation.seeds import OverSeeds, Paired, over_seeds, paired, verdict
from gan_vkd.study.files import read_file
from gan_vkd.study.plan import Claim, Unit, Workplace

LOGGED = (
    "overfitting",
    "gradient_ratio",
    "fit_held_out",
)  # from the log's notes: the same whoever judges
METRICS = ("fid", "kid", "precision", "recall", "density", "coverage")
METRICS += ("clipped_density", "clipped_coverage")

Values = Mapping[str, Mapping[int, float]]  # arm → seed → value


class Results:
    """All figures that are there.

    Args:
        work: the study.

    Attributes:
        notes: of each (unit, iteration) that is trained, what training noted.
        judgements: of each (unit, iteration, extractor) that is judged, the result.
        failures: why units failed.
    """

    def __init__(self, work: Workplace):
        self.work, self.study = work, work.study
        self.notes: dict[tuple[Unit, int], dict] = {}
        self.judgements: dict[tuple[Unit, int, str], dict] = {}
        self.failures: dict[Unit, str] = {}
        for unit in self.study.units():
            for number in self.study.checkpoints:
                if (file := work.notes(unit, number)).is_file():
                    self.notes[unit, number] = read_file(file)
                for name in self.study.extractors:
                    if (file := work.judgement(unit, number, name)).is_file():
                        self.judgements[unit, number, name] = read_file(file)
            if work.failure(unit).is_file():
                self.failures[unit] = work.failure(unit).read_text().strip()

    @property
    def missing(self) -> list[Unit]:
        """Units without their last checkpoint."""
        last = self.study.checkpoints[-1]
        return [unit for unit in self.study.units() if (unit, last) not in self.notes]

    def values(self, dataset: str, number: int, extractor: str, metric: str) -> Values:
        """A metric by arm and seed, as far as it is known."""
        found: dict[str, dict[int, float]] = {arm: {} for arm in self.study.arms}
        for unit in self.study.units():
            if unit.dataset == dataset:
                value = self._value(unit, number, extractor, metric)
                if value is not None:
                    found[unit.arm][unit.seed] = value
        return found

    def _value(self, unit: Unit, number: int, extractor: str, metric: str) -> float | None:
        if metric in LOGGED:
            return self.notes.get((unit, number), {}).get("log", {}).get(metric)
        result = self.judgements.get((unit, number, extractor))
        if result is None:
            return None
        return result["metrics"].get(metric, {}).get("value")

    def spread(
        self, dataset: str, number: int, extractor: str, metric: str
    ) -> dict[str, OverSeeds | None]:
        """Mean and spread of every arm."""
        values = self.values(dataset, number, extractor, metric)
        return {arm: over_seeds(by_seed) for arm, by_seed in values.items()}

    def held_out(self, dataset: str, extractor: str, metric: str) -> float | None:
        """A metric of held-out real images, as judged beside the baseline's samples."""
        for (unit, _, name), result in self.judgements.items():
            if (unit.dataset, name) == (dataset, extractor) and result["held_out"] is not None:
                return result["held_out"]["metrics"].get(metric, {}).get("value")
        return None

    def differences(
        self, dataset: str, number: int, extractor: str, metric: str
    ) -> dict[str, Paired | None]:
        """Every arm less the baseline, paired by seed."""
        values = self.values(dataset, number, extractor, metric)
        baseline = values[self.study.baseline]
        return {
            arm: paired(by_seed, baseline)
            for arm, by_seed in values.items()
            if arm != self.study.baseline
        }

    def claimed(self, dataset: str, extractor: str, claim: Claim) -> tuple[Paired | None, str]:
        """The difference that a claim is about, at the last checkpoint, and what it says.

        Nothing is said before all seeds are in: who looks on the way, and stops at will, finds
        more than there is.
        """
        values = self.values(dataset, self.study.checkpoints[-1], extractor, claim.metric)
        difference = paired(values[claim.arm], values[claim.against])
        if difference is None or difference.count < len(self.study.seeds):
            return difference, "incomplete"
        return difference, verdict(difference, claim.better == "lower")

    def curves(
        self, dataset: str, extractor: str, metric: str
    ) -> dict[str, dict[int, dict[int, float]]]:
        """Arm → seed → iteration → value."""
        curves: dict = {arm: {} for arm in self.study.arms}
        for number in self.study.checkpoints:
            for arm, by_seed in self.values(dataset, number, extractor, metric).items():
                for seed, value in by_seed.items():
                    curves[arm].setdefault(seed, {})[number] = value
        return curves

    def agreement(self, dataset: str) -> dict[tuple[str, str], dict[str, tuple[float | None, int]]]:
        """Whether two extractors put the study's generators in the same order.

        Returns:
            Pair of extractors → metric → Spearman's rank correlation and the count, over all
            arms, seeds and checkpoints that both have evaluated; pairs with fewer than 3 have none.
            None where a metric is the same for all.
        """
        found = {}
        for pair in combinations(self.study.extractors, 2):
            both = [
                (unit, number)
                for unit in self.study.units()
                for number in self.study.checkpoints
                if unit.dataset == dataset
                and all((unit, number, name) in self.judgements for name in pair)
            ]
            if len(both) >= 3:
                columns = {
                    metric: [[self._value(*place, name, metric) for place in both] for name in pair]
                    for metric in METRICS
                }
                found[pair] = {
                    metric: (_alike(*values), len(both)) for metric, values in columns.items()
                }
        return found

    def seconds(self, arm: str, machine: str) -> OverSeeds | None:
        """Training time of an arm's units on a machine, over data sets and seeds."""
        last = self.study.checkpoints[-1]
        found = [
            noted["seconds"]
            for (unit, number), noted in self.notes.items()
            if (unit.arm, number, noted["machine"]) == (arm, last, machine)
        ]
        return over_seeds(dict(enumerate(found)))

    def as_json(self) -> dict[str, Any]:
        """Everything: the study, each figure, the differences and the claims."""
        rows = []
        for dataset in self.study.datasets:
            for number in self.study.checkpoints:
                for name in self.study.extractors:
                    for metric in (*METRICS, *LOGGED):
                        place = (dataset, number, name, metric)
                        rows.append(
                            {
                                "dataset": dataset,
                                "iteration": number,
                                "extractor": None if metric in LOGGED else name,
                                "metric": metric,
                                "values": self.values(*place),
                                "over_seeds": _plain(self.spread(*place)),
                                "less_baseline": _plain(self.differences(*place)),
                            }
                        )
        claims = [
            {"dataset": dataset, "extractor": name, **claim.model_dump(), "verdict": said,
             "difference": difference and asdict(difference)}
            for dataset in self.study.datasets
            for name in self.study.extractors
            for claim in self.study.claims
            for difference, said in [self.claimed(dataset, name, claim)]
        ]  # fmt: skip
        return {
            "study": self.study.model_dump(),
            "claims": claims,
            "rank_correlations": [
                {
                    "dataset": dataset,
                    "extractors": pair,
                    "count": count,
                    "metric": metric,
                    "spearman": value,
                }
                for dataset in self.study.datasets
                for pair, by_metric in self.agreement(dataset).items()
                for metric, (value, count) in by_metric.items()
            ],
            "figures": rows,
            "held_out": [
                {"dataset": dataset, "extractor": name, "metric": metric, "value": value}
                for dataset in self.study.datasets
                for name in self.study.extractors
                for metric in METRICS
                if (value := self.held_out(dataset, name, metric)) is not None
            ],
            "judged_on": {
                f"{unit}/{number}/{name}": result["machine"]
                for (unit, number, name), result in self.judgements.items()
            },
            "trained": {f"{unit}/{number}": note for (unit, number), note in self.notes.items()},
            "failed": {str(unit): line for unit, line in self.failures.items()},
            "missing": [str(unit) for unit in self.missing],
        }


def _plain(by_arm: Mapping[str, Any]) -> dict[str, dict | None]:
    return {arm: value and asdict(value) for arm, value in by_arm.items()}


def _alike(first: list[float], second: list[float]) -> float | None:
    if min(len(set(first)), len(set(second))) == 1:
        return None
    return float(spearmanr(first, second).statistic)
