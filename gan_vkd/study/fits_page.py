"""The page of a study of classifiers: tables of accuracy in the form of V_kD's Table 1."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import yaml

from gan_vkd.bench.table import markdown
from gan_vkd.evaluation.seeds import Paired, over_seeds, paired, verdict
from gan_vkd.study.cells import difference_cell, found_table, listed, spread_cell
from gan_vkd.study.files import read_file
from gan_vkd.study.frame import claims_section, write_framed
from gan_vkd.study.picture import curves_picture
from gan_vkd.study.plan import Claim
from gan_vkd.study.restore import refuse_loss
from gan_vkd.study.students import Fit, StudentWorkplace, teacher_of

Which = Literal["last", "best"]


class Fits:
    """All classifiers that are trained.

    Args:
        work: the study.

    Attributes:
        found: unit → what training left: result, curve, settings, machine.
        failures: unit → why it failed.
    """

    def __init__(self, work: StudentWorkplace):
        self.work, self.study = work, work.study
        units = self.study.units()
        self.found = {
            unit: read_file(work.result(unit)) for unit in units if work.result(unit).is_file()
        }
        self.failures = {
            unit: work.failure(unit).read_text().strip()
            for unit in units
            if work.failure(unit).is_file()
        }

    @property
    def missing(self) -> list[Fit]:
        """Units that are not trained."""
        return [unit for unit in self.study.units() if unit not in self.found]

    def teacher(self, pair: str, which: Which) -> dict[int, float]:
        """Its top-1, percent, by seed."""
        teacher = teacher_of(self.study.pairs[pair].teacher)
        return self._top1(lambda unit: unit == teacher, which)

    def top1(self, pair: str, arm: str, which: Which) -> dict[int, float]:
        """Top-1 of a pair's students, percent, by seed."""
        return self._top1(lambda unit: (unit.pair, unit.arm) == (pair, arm), which)

    def _top1(self, wanted: Any, which: Which) -> dict[int, float]:
        return {
            unit.seed: 100 * found["result"][which]["top1"]
            for unit, found in self.found.items()
            if wanted(unit)
        }

    def less_baseline(self, pair: str, arm: str, which: Which) -> Paired | None:
        """An arm less the baseline, seed by seed."""
        return paired(self.top1(pair, arm, which), self.top1(pair, self.study.baseline, which))

    def claimed(self, pair: str, claim: Claim) -> tuple[Paired | None, str]:
        """The difference that a claim is about, of the last epoch, and what it says."""
        sides = [self.top1(pair, arm, "last") for arm in (claim.arm, claim.against)]
        difference = paired(*sides)
        if difference is None or difference.count < len(self.study.seeds):
            return difference, "incomplete"
        return difference, verdict(difference, claim.better == "lower")

    def curves(self, pair: str) -> dict[str, dict[int, dict[int, float]]]:
        """Arm → seed → iteration → top-1, percent."""
        curves: dict = {arm: {} for arm in self.study.arms}
        for unit, found in self.found.items():
            if unit.pair == pair:
                curves[unit.arm][unit.seed] = {at: 100 * top1 for at, top1 in found["curve"]}
        return curves

    def as_json(self) -> dict[str, Any]:
        """The study, each run, and the claims."""
        claims = [
            {"pair": pair, **claim.model_dump(), "verdict": said,
             "difference": difference and asdict(difference)}
            for pair in self.study.pairs
            for claim in self.study.claims
            for difference, said in [self.claimed(pair, claim)]
        ]  # fmt: skip
        return {
            "study": self.study.model_dump(),
            "claims": claims,
            "runs": {str(unit): found for unit, found in self.found.items()},
            "failed": {str(unit): line for unit, line in self.failures.items()},
            "missing": [str(unit) for unit in self.missing],
        }


def write_fits_page(fits: Fits, page: Path) -> list[Path]:
    """Write the page, and beside it in a folder of its name everything as JSON and the curves.

    Returns:
        The files.

    Raises:
        GanVkdError: the page there has results that are not among these.
    """
    refuse_loss(page, fits.work, {str(unit) for unit in fits.found})
    study, pictures = fits.study, {}
    for number, pair in enumerate(study.pairs):
        curves = fits.curves(pair)
        if any(curves.values()):
            pictures[pair] = page.with_suffix("") / f"curves-{number}.png"
            curves_picture(curves, study.baseline, "top-1, %", pictures[pair])
    judged = [
        (claim, pair, *fits.claimed(pair, claim)) for claim in study.claims for pair in study.pairs
    ]
    return write_framed(
        page,
        study,
        claims=claims_section(judged, "pair", "last epoch") if judged else "",
        found=_tables(fits),
        pictures=pictures,
        protocol=_protocol(fits),
        everything=fits.as_json(),
    )


def _tables(fits: Fits) -> list[str]:
    study, parts = fits.study, []
    said = {
        "last": "Last epoch, top-1 %: mean ± standard deviation over seeds (seeds).",
        "best": "Best epoch, a selection by the accuracy on the images that are reported unless "
        "the recipe sets validation images aside; published figures are mostly of this kind.",
    }
    header = ["", *study.pairs]
    for which, text in said.items() if fits.found else ():
        rows = [["teacher", *(_cell(fits.teacher(pair, which)) for pair in study.pairs)]]
        rows += [
            [arm, *(_cell(fits.top1(pair, arm, which)) for pair in study.pairs)]
            for arm in study.arms
        ]
        less = [
            [arm, *(difference_cell(fits.less_baseline(pair, arm, which)) for pair in study.pairs)]
            for arm in study.arms
            if arm != study.baseline
        ]
        parts += [f"### {which.capitalize()} epoch", text, found_table(header, rows)]
        parts += [f"Δ over {study.baseline}, seed by seed: mean [95 % interval] (pairs):"]
        parts.append(found_table(header, less))
    for table in study.published:
        rows = [[arm, *map(_percent, row)] for arm, row in table.arms.items()]
        parts += ["### Published", f"{table.source}. Not measured here.", markdown(header, rows)]
    return parts


def _cell(by_seed: Mapping[int, float]) -> str:
    found = over_seeds(by_seed)
    if found is None:
        return "-"
    spread = "" if found.deviation is None else f" ± {found.deviation:.2f}"
    return f"{found.mean:.2f}{spread} ({found.count})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _protocol(fits: Fits) -> list[str]:
    study = fits.study
    machines = Counter(found["machine"] for found in fits.found.values())
    trained = ", ".join(f"{name} ({count} runs)" for name, count in machines.items())
    facts = [
        f"Runs: {len(study.units())}: {len(study.teachers)} teachers, and {len(study.arms)} arms "
        f"of {len(study.pairs)} pairs under the seeds {', '.join(map(str, study.seeds))}. The seed "
        "draws the part of the training images too, where a recipe takes a part.",
        f"Trained on {trained or 'nothing yet'}.",
        f"Not trained: {listed(fits.missing) if fits.found else 'all'}.",
    ]
    for pair in study.pairs:
        taught = {f.get("teacher_sha256") for u, f in fits.found.items() if u.pair == pair} - {None}
        if len(taught) > 1:
            facts.append(f"The students of {pair} had {len(taught)} trainings of their teacher.")
    facts += [f"Failed: {unit}: {line}" for unit, line in fits.failures.items()]
    seconds = [
        [arm, spread_cell(over_seeds(dict(enumerate(found["seconds"] for found in of_arm))))]
        for arm in study.arms
        for of_arm in [[f for unit, f in fits.found.items() if unit.arm == arm]]
    ]
    names = ("teachers", "pairs", "common", "arms")
    settings = yaml.safe_dump(study.model_dump(include=set(names)), sort_keys=False)
    return [
        "\n".join(f"- {fact}" for fact in facts),
        f"    scripts/reproduce {study.name}",
        "Seconds of training a run, beside as many others as were started:" if fits.found else "",
        found_table(["arm", "seconds"], seconds),
        "Settings, over the defaults of `gan-vkd classify`:",
        f"```yaml\n{settings}```",
    ]
