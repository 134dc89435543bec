"""Figures over seeds as cells of a table."""

from gan_vkd.evaluation.seeds import OverSeeds, Paired


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
