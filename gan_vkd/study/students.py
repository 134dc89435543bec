"""A study of classifiers: pairs of teacher and student x arms x seeds; and where its files lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.core import Group
from gan_vkd.config.layers import file_layer, merge, resolve
from gan_vkd.study.plan import Claim, picked, require_arms, validated

# Any study at the scale of a test: the first pair, its networks as they are.
QUICK = {
    "data": {"dataset": "digits", "image_size": 16, "subset": 0.05},
    "student": {"image_size": 16},
    "training": {"epochs": 2, "batch_size": 16, "log_every": 1, "warmup": 0, "precision": "fp32"},
}
TEACHER, TEACHERS_SEED = "teacher-", 0
UNSEEN = {"data": ("data_root",), "teacher": ("spec", "weights"), "training": ("precision",)}


class Pair(Group):
    """A teacher of the study, and the settings of the student it teaches."""

    teacher: str
    student: dict[str, Any]


class Published(Group):
    """Figures of a paper, top-1 in percent: one a pair, in the pairs' order; None: not given."""

    source: str
    arms: dict[str, list[float | None]]


class StudentStudy(Group):
    """Pairs x arms x seeds.

    Attributes:
        name: the file's.
        title: of the page.
        question: what it is about, and what will count, in words.
        teachers: name → settings of its own training, over the command's defaults.
        pairs: name → its teacher and its student.
        common: settings of every student, over the command's defaults.
        arms: name → its settings, over those.
        baseline: the arm that the others are compared with.
        seeds: of everything random; teachers have `TEACHERS_SEED`, whichever of these are done.
        claims: what would count as support, for each pair; the metric is `top1`, in percent.
        published: figures of papers, in a table of their own.
        answer: what came out, in words; the one field that is written afterwards.
    """

    name: str
    title: str
    question: str
    teachers: dict[str, dict[str, Any]]
    pairs: dict[str, Pair]
    common: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, dict[str, Any]]
    baseline: str
    seeds: list[int]
    claims: list[Claim] = Field(default_factory=list)
    published: list[Published] = Field(default_factory=list)
    answer: str = ""

    @model_validator(mode="after")
    def _all_is_there(self) -> "StudentStudy":
        require_arms(self.arms, self.baseline, self.claims)
        for name, pair in self.pairs.items():
            if pair.teacher not in self.teachers:
                raise ValueError(f"pair {name}: no teacher is called {pair.teacher!r}")
        for table in self.published:
            for arm, figures in table.arms.items():
                if len(figures) != len(self.pairs):
                    raise ValueError(f"published {arm}: one figure a pair, in their order")
        return self

    def units(self) -> list["Fit"]:
        """The teachers; then all pairs and arms of a seed, and the next seed."""
        return [unit for part in self.in_turn() for unit in part]

    def in_turn(self) -> list[list["Fit"]]:
        """What can be done side by side, one behind the other: the teachers, their students."""
        students = [
            Fit(pair, arm, seed) for seed in self.seeds for pair in self.pairs for arm in self.arms
        ]
        return [[teacher_of(name) for name in self.teachers], students]

    def layers(self, unit: "Fit", places: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """The layers of a unit's recipe, over the command's defaults.

        Args:
            unit: of this study.
            places: settings that say where its data and its teacher are.
        """
        own = (f"unit {unit}", {**places, "training": {"seed": unit.seed}})
        if unit.arm is None:
            name = unit.pair.removeprefix(TEACHER)
            return [(f"{self.name}: teacher {name}", self.teachers[name]), own]
        return [
            (f"{self.name}: common", self.common),
            (f"{self.name}: pair {unit.pair}", self.pairs[unit.pair].student),
            (f"{self.name}: arm {unit.arm}", self.arms[unit.arm]),
            own,
        ]


@dataclass(frozen=True)
class Fit:
    """One training: of a teacher (`arm` None), or of a pair's student by an arm."""

    pair: str
    arm: str | None
    seed: int

    def __str__(self) -> str:
        return "/".join([self.pair, *([] if self.arm is None else [self.arm, str(self.seed)])])


def teacher_of(name: str) -> Fit:
    """The training of a teacher."""
    return Fit(f"{TEACHER}{name}", None, TEACHERS_SEED)


@dataclass(frozen=True)
class StudentWorkplace:
    """A study and the places of its files.

    Attributes:
        study: what is done.
        out: a folder; the study has one of its name in it.
        data_root: where named data sets are looked for.
    """

    study: StudentStudy
    out: Path
    data_root: Path | None = None

    def folder(self, unit: Fit) -> Path:
        """A unit's."""
        return self.out / self.study.name / str(unit)

    def result(self, unit: Fit) -> Path:
        """Accuracy, curve and settings of a unit that is trained."""
        return self.folder(unit) / "fit.json"

    def network(self, unit: Fit) -> Path:
        """The last epoch's network."""
        return self.folder(unit) / "network.safetensors"

    def teacher(self, unit: Fit) -> Path | None:
        """The network that teaches a unit; None for a teacher, and for labels alone."""
        if unit.arm is None or _method(self.study.arms[unit.arm]) == "none":
            return None
        return self.network(teacher_of(self.study.pairs[unit.pair].teacher))

    def failure(self, unit: Fit) -> Path:
        """Why a unit failed, in one line."""
        return self.folder(unit) / "error.txt"

    def is_trained(self, unit: Fit) -> bool:
        """Whether the unit's result is there; and a teacher's network, while a student waits."""
        there = self.result(unit).is_file()
        if unit.arm is not None or self.network(unit).is_file():
            return there
        return there and all(
            self.result(student).is_file()
            for student in self.study.units()
            if student.arm is not None
            and teacher_of(self.study.pairs[student.pair].teacher) == unit
        )

    def to_judge(self, unit: Fit) -> list:
        """Nothing: accuracy is measured while it is trained."""
        return []

    def layers(self, unit: Fit) -> list[tuple[str, dict[str, Any]]]:
        """The layers of a unit's recipe; a student without a method has no teacher."""
        root = None if self.data_root is None else str(self.data_root.absolute())
        places: dict[str, Any] = {"data": {"data_root": root}}
        if (teacher := self.teacher(unit)) is not None:
            places["teacher"] = {"spec": f"file:{teacher.absolute()}"}
        return self.study.layers(unit, places)

    def recipe(self, unit: Fit) -> ClassificationRecipe:
        """The recipe of a unit.

        Raises:
            GanVkdError: settings that are none.
        """
        return resolve(self.layers(unit), ClassificationRecipe)


def _method(arm: dict[str, Any]) -> str:
    return arm.get("distill", {}).get("method", "none")


def read_students(
    path: Path, quick: bool = False, only: dict[str, Any] | None = None
) -> StudentStudy:
    """Read a study, and check the settings of all its units.

    Args:
        path: YAML.
        quick: at the scale of a test (`QUICK`).
        only: arms, seeds or pairs to keep, by these names.

    Raises:
        GanVkdError: a file that is no study; settings or names that are none.
    """
    fields = file_layer(path)
    if quick:
        first = next(iter(fields["pairs"]))
        teacher = fields["pairs"][first]["teacher"]
        fields["pairs"], fields["seeds"] = {first: fields["pairs"][first]}, [0, 1]
        fields["teachers"] = {teacher: merge(fields["teachers"][teacher], QUICK)}
        fields["common"] = merge(fields.get("common", {}), QUICK)
        fields["published"] = []
    study = _kept(validated(StudentStudy, path, fields), only or {})
    for unit in study.units():
        StudentWorkplace(study, Path()).recipe(unit)
    return study


def _kept(study: StudentStudy, only: dict[str, Any]) -> StudentStudy:
    """The study, of which some arms, seeds or pairs alone are done."""
    kept = {name: picked(getattr(study, name), chosen, name) for name, chosen in only.items()}
    if "arms" in kept:
        kept["claims"] = [c for c in study.claims if {c.arm, c.against} <= kept["arms"].keys()]
    if "pairs" in kept:
        used = {pair.teacher for pair in kept["pairs"].values()}
        kept["teachers"] = {name: study.teachers[name] for name in study.teachers if name in used}
        places = [list(study.pairs).index(name) for name in kept["pairs"]]
        kept["published"] = [
            Published(
                source=table.source,
                arms={arm: [row[i] for i in places] for arm, row in table.arms.items()},
            )
            for table in study.published
        ]
    return study.model_copy(update=kept)


def settings_of(recipe: ClassificationRecipe) -> dict[str, Any]:
    """The settings that a result depends on, wherever it was made."""
    groups = recipe.model_dump(mode="json")
    for group, fields in UNSEEN.items():
        for field in fields:
            del groups[group][field]
    return groups
