"""The report's HTML templates."""

import base64
import shlex

from jinja2 import Environment, PackageLoader, StrictUndefined

from gan_vkd import __version__
from gan_vkd.report.collect import as_text


def rendered(name: str, **values: object) -> str:
    """A template of this package as text; values are escaped."""
    environment = Environment(
        loader=PackageLoader("gan_vkd", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["image"] = _as_image
    environment.filters["as_text"] = as_text
    environment.filters["quoted"] = shlex.quote
    return environment.get_template(name).render(version=__version__, **values)


def _as_image(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
