"""The report's HTML templates."""

import base64
import shlex
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined

from gan_vkd import __version__
from gan_vkd.report.charts import COLOURS, charts
from gan_vkd.report.collect import Facts, as_text


def render_runs(
    template: str,
    runs: list,
    as_shown: Callable[[Facts], dict],
    log_charts: dict[str, str],
    curve_charts: dict[str, str],
) -> str:
    """A page on runs side by side, each in its colour; all text is escaped.

    Args:
        template: a file of this package.
        runs: `Facts` of each.
        as_shown: what the template shows of a run beside its facts and colour.
        log_charts, curve_charts: titles by what log and curve have measured.
    """
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(runs))]
    environment = Environment(
        loader=PackageLoader("gan_vkd", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["image"] = _as_image
    environment.filters["as_text"] = as_text
    environment.filters["quoted"] = shlex.quote
    return environment.get_template(template).render(
        version=__version__,
        runs=[
            {"facts": run, "colour": colour, **as_shown(run)}
            for run, colour in zip(runs, colours, strict=True)
        ],
        log_charts=charts([run.log for run in runs], colours, log_charts),
        curve_charts=charts([run.curve for run in runs], colours, curve_charts),
    )


def _as_image(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
