"""Write docs/api.md from the docstrings of the public names.

Usage: python scripts/api_page.py
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import gan_vkd
from gan_vkd import evaluation
from gan_vkd.distill.teachers import Teacher, load_teacher
from gan_vkd.gan.exported import ExportedGenerator

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
WIDTH = 88  # of a signature's line
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
INTRODUCTION = """# Python API

These names are public; everything else may change. This page is made from their docstrings by
`python scripts/api_page.py`. A value that a function refuses raises `GanVkdError`, or `ValueError`
where arrays or arguments do not fit each other.
"""

# heading → what is documented: name → object
CONTENTS: dict[str, dict[str, object]] = {
    "The distillation loss": {
        "gan_vkd.VkDLoss": gan_vkd.VkDLoss,
        "gan_vkd.VkDLoss.forward": gan_vkd.VkDLoss.forward,
        "gan_vkd.WhitenDataset": gan_vkd.WhitenDataset,
        "gan_vkd.WhitenDataset.fit": gan_vkd.WhitenDataset.fit,
    },
    "Trained generators": {
        "gan_vkd.load_generator": gan_vkd.load_generator,
        "gan_vkd.gan.exported.ExportedGenerator": ExportedGenerator,
        "ExportedGenerator.sample": ExportedGenerator.sample,
        "ExportedGenerator.draw": ExportedGenerator.draw,
        "ExportedGenerator.labels": ExportedGenerator.labels,
        "ExportedGenerator.class_indices": ExportedGenerator.class_indices,
    },
    "Metrics": {f"gan_vkd.evaluation.{n}": getattr(evaluation, n) for n in evaluation.__all__},
    "Teachers": {
        "gan_vkd.distill.teachers.load_teacher": load_teacher,
        "Teacher.features": Teacher.features,
    },
    "Errors": {"gan_vkd.GanVkdError": gan_vkd.GanVkdError},
}


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for heading, names in CONTENTS.items():
        parts.append(f"## {heading}\n")
        parts += [entry(name, what) for name, what in names.items()]
    return "\n".join(parts)


def entry(name: str, what: object) -> str:
    """The heading, signature and docstring of a class or function."""
    text = inspect.getdoc(what)
    return f"### {name}\n\n```python\n{signature(name, what)}\n```\n\n{in_markdown(text)}\n"


def signature(name: str, what: Callable) -> str:
    """As the source has it; the parameters one per line where they are many."""
    short = name.rpartition(".")[2]
    node = ast.parse(textwrap.dedent(inspect.getsource(what))).body[0]
    if isinstance(node, ast.ClassDef):
        starts = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        if not starts and not fields:
            return short
        parameters = parameters_of(starts[0].args) if starts else [ast.unparse(f) for f in fields]
        returned = ""
    else:
        parameters = parameters_of(node.args)
        returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{short}({', '.join(parameters)}){returned}"
    if len(line) > WIDTH:
        line = "\n".join([f"{short}(", *(f"    {each}," for each in parameters), f"){returned}"])
    return line.replace("'", '"')


def parameters_of(arguments: ast.arguments) -> list[str]:
    """Each parameter with its type and default, without `self` and `cls`."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    pairs = [*zip(plain, defaults, strict=True)]
    by_name = [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    texts = [
        ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")
        for argument, default in pairs + by_name
    ]
    if by_name:
        texts.insert(len(pairs), "*")
    return [text for text in texts if text not in ("self", "cls")]


def in_markdown(text: str) -> str:
    """A docstring whose sections become lists."""
    lines, section = [], ""
    for line in text.splitlines():
        if line.endswith(":") and line.rstrip(":") in SECTIONS:
            section = line.rstrip(":")
            lines += [f"**{section}**", ""]
        elif section and section not in ("Returns", "Yields") and re.match(r"    [\w, ]+: ", line):
            name, _, description = line.strip().partition(": ")
            lines.append(f"* `{name}`: {description}")
        elif section:
            lines.append("  " * line.startswith(" " * 8) + line.strip())
        else:
            lines.append(line)
    return "\n".join(lines).strip()


if __name__ == "__main__":
    PAGE.write_text(page())
