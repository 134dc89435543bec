"""What a study is: a YAML file of arms, seeds, checkpoints and claims; and where its files lie."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError, model_validator

from gan_vkd.config.core import Group, Positive, Recipe
from gan_vkd.config.layers import file_layer, merge, preset_layer, resolve
from gan_vkd.errors import GanVkdError

S = TypeVar("S", bound=Group)

# Settings of a run that depend on the machine, or that a checkpoint does not depend on.
FREE = {"data": ("dataset", "data_root", "subset"), "training": ("iterations", "precision")}

# Any study at the scale of a test. A mirrored digit is another sign, in a folder too.
QUICK = {
    "preset": "tiny",
    "datasets": {"digits": 0.1},
    "seeds": [0, 1],
    "checkpoints": [2, 4],
    "num": 60,
    "common": {
        "data": {"flip": False},
        "training": {"eval_every": 0, "log_every": 2, "batch_size": 8, "ema_start": 0},
    },
}


class Claim(Group):
    """What would count as support, said before anything is trained.

    Attributes:
        says: the claim in words.
        arm, against: supported where `arm` is better than `against`, paired by seeds: the 95 %
            interval of the difference at the last checkpoint lies on that side of 0.
        metric: by which.
        better: the side.
    """

    says: str
    arm: str
    against: str
    metric: str
    better: Literal["lower", "higher"]


def require_arms(arms: Iterable[str], baseline: str, claims: list[Claim]) -> None:
    """Refuse a baseline, or a claim, about an arm that is not there."""
    for name in (baseline, *(arm for claim in claims for arm in (claim.arm, claim.against))):
        if name not in arms:
            raise ValueError(f"no arm is called {name!r}")


class Study(Group):
    """Arms x seeds x checkpoints on some data sets.

    Attributes:
        name: the file's.
        title: of the page.
        question: what it is about, and what will count, in words.
        preset: under all arms.
        datasets: spec → share of the training images, drawn by the seed.
        seeds: of everything random, the draw of the photographs too.
        checkpoints: iterations at which generators are kept and judged.
        common: settings of every arm, over the preset.
        arms: name → its settings, over those.
        baseline: the arm that the others are compared with.
        num: samples judged.
        extractors: that judge.
        curves: metrics that are drawn.
        claims: what would count as support.
        answer: what came out, in words; the one field that is written afterwards.
    """

    name: str
    title: str
    question: str
    preset: str
    datasets: dict[str, float]
    seeds: list[int]
    checkpoints: list[Positive]
    common: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    baseline: str
    num: Positive
    extractors: list[str]
    curves: list[str]
    claims: list[Claim]
    answer: str = ""

    @model_validator(mode="after")
    def _arms_are_there(self) -> "Study":
        require_arms(self.arms, self.baseline, self.claims)
        if not self.checkpoints or self.checkpoints != sorted(set(self.checkpoints)):
            raise ValueError("checkpoints go upwards")
        return self

    def units(self) -> list["Unit"]:
        """All arms of a seed, then the next seed: whatever time allows holds whole pairs."""
        return [
            Unit(spec, arm, seed)
            for spec in self.datasets
            for seed in self.seeds
            for arm in self.arms
        ]

    def in_turn(self) -> list[list["Unit"]]:
        """What can be done side by side, one behind the other: all of it."""
        return [self.units()]

    def recipe(self, unit: "Unit", iterations: int, data: dict[str, Any]) -> Recipe:
        """The recipe of a unit.

        Args:
            unit: arm and seed.
            iterations: to train for, in all.
            data: where its photographs are: settings of `data`.

        Raises:
            GanVkdError: settings that are none.
        """
        return resolve([(f"--preset {self.preset}", preset_layer(self.preset)),
                        *self.layers(unit, iterations, data)])  # fmt: skip

    def layers(
        self, unit: "Unit", iterations: int, data: dict[str, Any]
    ) -> list[tuple[str, dict[str, Any]]]:
        """The layers over the preset; see `recipe`."""
        training = {"iterations": iterations, "seed": unit.seed}
        return [
            (f"{self.name}: common", self.common),
            (f"{self.name}: arm {unit.arm}", self.arms[unit.arm]),
            (f"{self.name}: unit {unit}", {"data": data, "training": training}),
        ]


@dataclass(frozen=True)
class Unit:
    """One arm under one seed on one data set: what is trained and judged in one process."""

    dataset: str
    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{Path(self.dataset).stem}/{self.arm}/{self.seed}"


@dataclass(frozen=True)
class Workplace:
    """A study and the places of its files.

    Attributes:
        study: what is done.
        out: the folder of all units; studies whose arms are the same share them.
        source: folder of photographs drawn before (`gan_vkd.study.photographs`), or None.
        data_root: where named data sets are looked for.
    """

    study: Study
    out: Path
    source: Path | None = None
    data_root: Path | None = None

    def folder(self, unit: Unit) -> Path:
        """A unit's: generators, what its log says, judgements."""
        share = self.study.datasets[unit.dataset]
        return self.out / f"{Path(unit.dataset).stem}-{share:g}" / unit.arm / str(unit.seed)

    def generator(self, unit: Unit, iterations: int) -> Path:
        """The exported generator of a checkpoint."""
        return self.folder(unit) / f"{iterations}.safetensors"

    def notes(self, unit: Unit, iterations: int) -> Path:
        """What training noted at a checkpoint."""
        return self.folder(unit) / f"{iterations}.json"

    def judgement(self, unit: Unit, iterations: int, extractor: str) -> Path:
        """The figures of a checkpoint."""
        safe = "".join(c if c.isalnum() or c == "-" else "-" for c in extractor)
        return self.folder(unit) / f"{iterations}-{safe}-{self.study.num}.json"

    def failure(self, unit: Unit) -> Path:
        """Why a unit failed, in one line."""
        return self.folder(unit) / "error.txt"

    def is_trained(self, unit: Unit) -> bool:
        """Whether all the unit's checkpoints are there."""
        return all(self.notes(unit, number).is_file() for number in self.study.checkpoints)

    def to_judge(self, unit: Unit) -> list[tuple[int, str]]:
        """Of `unjudged`, those whose generator is there."""
        return [(n, name) for n, name in self.unjudged(unit) if self.generator(unit, n).is_file()]

    def unjudged(self, unit: Unit) -> list[tuple[int, str]]:
        """The checkpoints that are trained and the extractors that have not judged them."""
        return [
            (number, name)
            for number in self.study.checkpoints
            for name in self.study.extractors
            if self.notes(unit, number).is_file()
            and not self.judgement(unit, number, name).is_file()
        ]

    def drawn(self, unit: Unit) -> str:
        """The name of the folder of a unit's photographs."""
        return f"{Path(unit.dataset).stem}-{self.study.datasets[unit.dataset]:g}-seed{unit.seed}"

    def whole(self, unit: Unit) -> dict[str, Any]:
        """The settings of `data` that draw the photographs from the whole data set."""
        root = None if self.data_root is None else str(self.data_root.absolute())
        share = self.study.datasets[unit.dataset]
        return {"dataset": unit.dataset, "data_root": root, "subset": share}

    def data(self, unit: Unit) -> dict[str, Any]:
        """The settings of `data` that training takes."""
        if self.source is None:
            return self.whole(unit)
        return {"dataset": str((self.source / self.drawn(unit)).absolute()), "subset": 1.0}

    def recipe(self, unit: Unit, iterations: int) -> Recipe:
        """See `Study.recipe`."""
        return self.study.recipe(unit, iterations, self.data(unit))


def read_study(path: Path, quick: bool = False, only: dict[str, Any] | None = None) -> Study:
    """Read a study, and check the settings of all its arms.

    A study with `base: NAME` is laid over the file of that name beside it, and lists by name the
    arms that it takes.

    Args:
        path: YAML.
        quick: at the scale of a test (`QUICK`).
        only: arms, seeds, datasets, checkpoints or extractors to keep, by these names.

    Raises:
        GanVkdError: a file that is no study; settings or names that are none.
    """
    fields = file_layer(path)
    if "base" in fields:
        base = file_layer(path.with_name(f"{fields.pop('base')}.yaml"))
        chosen = fields.pop("arms", list(base["arms"]))
        fields = {**base, **fields, "arms": picked(base["arms"], chosen, "arms")}
    if quick:
        common = merge(fields.get("common", {}), QUICK["common"])
        fields |= {**QUICK, "common": common, "extractors": ["bundled-1"]}
    study = validated(Study, path, fields)
    kept = {name: picked(fields[name], chosen, name) for name, chosen in (only or {}).items()}
    if "arms" in kept:
        kept["claims"] = [c for c in study.claims if {c.arm, c.against} <= kept["arms"].keys()]
    if "checkpoints" in kept:
        kept["checkpoints"].sort()
    study = study.model_copy(update=kept)
    for unit in study.units():
        study.recipe(unit, study.checkpoints[-1], {})
    return study


def validated(kind: type[S], path: Path, fields: dict[str, Any]) -> S:
    """A study of a kind from the fields of its file.

    Raises:
        GanVkdError: names the file and the first field that is wrong.
    """
    try:
        return kind.model_validate({"name": path.stem, **fields})
    except ValidationError as error:
        problem = error.errors()[0]
        where = [str(path), ".".join(map(str, problem["loc"]))]
        where.append(problem["msg"].removeprefix("Value error, "))
        raise GanVkdError(": ".join(filter(None, where))) from None


def picked(known: Any, chosen: list, what: str) -> Any:
    """The chosen ones of a list, or of a mapping by name.

    Raises:
        GanVkdError: a name that is none of them; `what` they are.
    """
    for name in chosen:
        if name not in known:
            raise GanVkdError(f"{what}: {name!r} is none of {', '.join(map(str, known))}")
    return {name: known[name] for name in chosen} if isinstance(known, dict) else list(chosen)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The settings that a checkpoint depends on, wherever and on whatever it was trained."""
    groups = recipe.model_dump(mode="json")
    for group, fields in FREE.items():
        for field in fields:
            del groups[group][field]
    return groups
