"""A study goes on from the JSON beside its page."""

import json
import shutil
from pathlib import Path

import pytest

from gan_vkd.study import fits_page
from gan_vkd.study import page as page_of_generators
from gan_vkd.study.restore import everything_of

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
PUBLISHED = sorted(path.stem for path in RESULTS.glob("*.md") if everything_of(path).is_file())


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("study", PUBLISHED)
def test_a_published_page_is_made_again_from_its_json_alone(
    study, reproduce, tmp_path, monkeypatch
):
    for module in (page_of_generators, fits_page):
        monkeypatch.setattr(module, "curves_picture", lambda *_: None)
    result = reproduce(study, "--restore", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = tmp_path / f"{study}.md"
    result = reproduce(study, "--report", "--out", tmp_path / "out", "--page", page)
    assert result.exit_code == 0, result.output
    assert page.read_text() == (RESULTS / f"{study}.md").read_text()
    ours, theirs = (
        json.loads(everything_of(place).read_text()) for place in (page, RESULTS / page.name)
    )
    assert ours == theirs


def test_what_is_there_stays(reproduce, tmp_path):
    arm = ("strength", "--out", tmp_path)
    assert reproduce(*arm, "--restore").exit_code == 0
    there = files(tmp_path)
    notes = next(tmp_path.rglob("3000.json"))
    notes.write_text("{}")
    next(tmp_path.rglob("3000-bundled-2-5000.json")).unlink()
    result = reproduce(*arm, "--restore")
    assert "Results written" in result.output
    assert ": 1 (" in result.output
    assert notes.read_text() == "{}"
    assert files(tmp_path).keys() == there.keys()


def test_a_page_is_not_replaced_by_one_with_less(reproduce, tmp_path):
    page = tmp_path / "strength.md"
    shutil.copy(RESULTS / "strength.md", page)
    shutil.copytree(RESULTS / "strength", tmp_path / "strength")
    before = files(tmp_path)
    report = ("strength", "--report", "--out", tmp_path / "out", "--page", page)
    result = reproduce(*report)
    assert result.exit_code == 2
    assert "--restore" in result.output
    assert len(result.output.splitlines()) == 1
    assert files(tmp_path) == before
    assert reproduce("strength", "--restore", "--out", tmp_path / "out").exit_code == 0
    next((tmp_path / "out").rglob("3000-bundled-2-5000.json")).unlink()  # one judgement less
    assert reproduce(*report).exit_code == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), ("{", "not a whole JSON file"), ('{"runs": {}}', "not the JSON of")],
)
def test_no_results_to_restore_are_one_line(content, said, reproduce, tmp_path):
    if content is not None:
        (tmp_path / "page").mkdir()
        (tmp_path / "page" / "page.json").write_text(content)
    out = ("--out", tmp_path / "out", "--page", tmp_path / "page.md")
    result = reproduce("strength", "--restore", *out)
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()
