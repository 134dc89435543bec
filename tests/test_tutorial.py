"""The tutorial's cells run, in order and small."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
SMALL = "ITERATIONS, SAMPLES, STEPS = 3, 40, 3"


def cells(kind: str) -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_every_cell_runs(gan_vkd, monkeypatch, tmp_path):
    commands = []

    def in_this_process(arguments, check):
        commands.append(shlex.join(arguments[3:]))
        result = gan_vkd(*arguments[3:])
        assert result.exit_code == 0, result.output

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", in_this_process)
    names = {}
    with torch.random.fork_rng():
        for cell in cells("code"):
            exec(compile("".join(cell["source"]), "a cell of the tutorial", "exec"), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                exec(SMALL, names)
    assert [command.split()[0] for command in commands] == ["data", "train", "sample", "eval"]
    assert names["metrics"]["fid"]["value"] > 0
    assert torch.allclose(names["P"] @ names["P"].T, torch.eye(64), atol=1e-5)


def test_it_is_stored_without_outputs_and_its_links_lead_somewhere():
    for cell in cells("code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
    text = "".join("".join(cell["source"]) for cell in cells("markdown"))
    targets = [part.split(")")[0] for part in text.split("](")[1:]]
    assert targets
    assert all((NOTEBOOK.parent / target).is_file() for target in targets)


def test_the_cells_are_valid_python_for_the_format():
    book = json.loads(NOTEBOOK.read_text())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
