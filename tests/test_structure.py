"""The house: sizes of modules, and arrows between packages that point one way."""

import ast
from pathlib import Path

import gan_vkd

PACKAGE = Path(gan_vkd.__file__).parent

# Each may import what stands in the lines above its own, and itself.
LEVELS = [
    {"errors", "terminal", "randomness", "paths", "progress", "tensors", "cache"},
    {"device", "processes"},
    {"config", "data", "engine"},
    {"distill"},
    {"classification", "gan"},
    {"evaluation"},
    {"training", "report", "bench"},
    {"study"},
    {"cli"},
    {"__main__"},
]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def level(name: str) -> int:
    return next(number for number, names in enumerate(LEVELS) if name in names)


def imported(path: Path) -> set[str]:
    """The parts of the package that a module imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("gan_vkd.")]
    return {part[1] for part in parts if part[1] not in gan_vkd.__all__}


def test_no_module_is_longer_than_300_lines():
    long = {p.name: n for p in modules() if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_no_arrow_points_upwards():
    wrong = []
    for path in modules():
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for other in imported(path) - {own}:
            if level(other) > level(own) or (level(other) == level(own) and level(own) > 0):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong


def test_tools_see_the_public_names():
    assert {"VkDLoss", "WhitenDataset", "load_generator", "GanVkdError"} <= set(dir(gan_vkd))
    assert (PACKAGE / "py.typed").is_file()
    for name in gan_vkd.__all__:
        assert getattr(gan_vkd, name) is not None
