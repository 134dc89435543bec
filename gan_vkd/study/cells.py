"""Figures over seeds as cells of a table, and which rows a page has."""

from collections.abc import Iterable

from gan_vkd.bench.table import markdown
from gan_vkd.evaluation.seeds import OverSeeds, Paired


def found_table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table of the rows that have a figure, or nothing where none has.

    Args:
        header: as `markdown` has it.
        rows: name and cells; "-" is no figure.
    """
    found = [row for row in rows if set(row[1:]) != {"-"}]
    return markdown(header, found) if found else ""


def listed(units: Iterable[object]) -> str:
    """Names of units, the seeds of an arm together, such as `cifar10/none/{0,1}`; or `none`."""
    seeds: dict[str, list[str]] = {}
    for unit in map(str, units):
        arm, slash, seed = unit.rpartition("/")
        seeds.setdefault(arm + slash or unit, []).append(seed if slash else "")
    names = (
        arm + (of[0] if len(of) == 1 else "{" + ",".join(of) + "}") for arm, of in seeds.items()
    )
    return ", ".join(names) or "none"


def spread_cell(found: OverSeeds | None) -> str:
    """Mean ± standard deviation (seeds)."""
    if found is None:
        return "-"
    spread = "" if found.deviation is None else f" ± {number_cell(found.deviation)}"
    return f"{number_cell(found.mean)}{spread} ({found.count})"


def difference_cell(found: Paired | None) -> str:
    """Mean [95 % interval] (pairs)."""
    if found is None:
        return "-"
    interval = (
        "" if found.low is None else f" [{number_cell(found.low)}, {number_cell(found.high)}]"
    )
    return f"{number_cell(found.mean)}{interval} ({found.count})"


def number_cell(value: float) -> str:
    """Three digits, or all before the point."""
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"
