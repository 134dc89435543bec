"""A study goes on from the JSON beside its page."""

import json
import re
import shutil
from pathlib import Path

import pytest

from gan_vkd.study import fits_page, stages
from gan_vkd.study import page as page_of_generators
from gan_vkd.study.restore import everything_of

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
PUBLISHED = sorted(path.stem for path in RESULTS.glob("*.md") if everything_of(path).is_file())
UNIT = Path("cifar10-0.01") / "none" / "0"
JUDGEMENT = "3000-bundled-2-5000.json"


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refused(result):
    """The one line of a refusal."""
    assert result.exit_code == 2, result.output
    [line] = result.output.splitlines()
    return line


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    for module in (page_of_generators, fits_page):
        monkeypatch.setattr(module, "curves_picture", lambda *_: None)


@pytest.fixture
def page(tmp_path):
    """A copy of a published page."""
    shutil.copy(RESULTS / "strength.md", tmp_path)
    shutil.copytree(RESULTS / "strength", tmp_path / "strength")
    return tmp_path / "strength.md"


@pytest.mark.parametrize("study", PUBLISHED)
def test_a_published_page_is_made_again_from_its_json_alone(study, reproduce, tmp_path):
    result = reproduce(study, "--restore", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = tmp_path / f"{study}.md"
    result = reproduce(study, "--report", "--out", tmp_path / "out", "--page", page)
    assert result.exit_code == 0, result.output
    assert page.read_text() == (RESULTS / f"{study}.md").read_text()
    ours, theirs = (everything_of(place).read_text() for place in (page, RESULTS / page.name))
    assert ours == theirs
    assert not re.findall(r"^\|[^|]*(?:\| +- )+\|$", page.read_text(), re.M)  # rows of no figure


def test_what_is_there_stays(reproduce, tmp_path):
    restore = ("strength", "--out", tmp_path, "--restore")
    assert reproduce(*restore).exit_code == 0
    there = files(tmp_path)
    (tmp_path / UNIT / JUDGEMENT).write_text("{}")
    (tmp_path / UNIT / "1500.json").unlink()
    result = reproduce(*restore)
    assert "files written: 1" in result.output
    assert (tmp_path / UNIT / JUDGEMENT).read_text() == "{}"
    assert files(tmp_path).keys() == there.keys()


@pytest.mark.parametrize("own", ["notes", "generator"])
def test_a_checkpoint_of_its_own_does_not_get_the_pages_judgement(own, reproduce, tmp_path):
    """It is another network."""
    restore = ("strength", "--out", tmp_path, "--restore")
    assert reproduce(*restore).exit_code == 0
    notes, judgement = tmp_path / UNIT / "3000.json", tmp_path / UNIT / JUDGEMENT
    judgement.unlink()
    if own == "notes":
        notes.write_text(json.dumps(json.loads(notes.read_text()) | {"machine": "mine"}))
    else:
        notes.rename(tmp_path / UNIT / "3000.safetensors")
    before = files(tmp_path)
    assert reproduce(*restore).exit_code == 0
    assert files(tmp_path) == before


def test_a_page_is_not_replaced_by_one_with_less(page, reproduce, tmp_path):
    before = files(tmp_path)
    report = ("strength", "--report", "--out", tmp_path / "out", "--page", page)
    everything = json.loads(everything_of(page).read_text())
    count = len(everything["trained"]) + len(everything["judged_on"])
    assert f"has {count} results" in (line := refused(reproduce(*report)))
    assert "--restore" in line
    assert files(tmp_path) == before
    assert reproduce("strength", "--restore", "--out", tmp_path / "out").exit_code == 0
    (tmp_path / "out" / UNIT / JUDGEMENT).unlink()  # one judgement less
    assert "has 1 results" in refused(reproduce(*report))


def test_a_part_of_a_study_is_no_page_of_all_of_it(page, reproduce, tmp_path, monkeypatch):
    """Said before anything is trained."""
    monkeypatch.setattr(stages, "side_by_side", lambda *_, **__: pytest.fail("trained"))
    part = ("strength", "--arms", "none,whiten", "--out", tmp_path / "out", "--page", page)
    assert "drop --arms" in refused(reproduce(*part))
    assert reproduce(*part, "--commands").exit_code == 0


def test_what_cant_be_judged_is_said(reproduce, tmp_path):
    place = ("strength", "--out", tmp_path, "--arms", "none", "--checkpoints", "3000,1500")
    assert reproduce(*place, "--restore").exit_code == 0
    (tmp_path / UNIT / JUDGEMENT).unlink()
    result = reproduce(*place, "--judge", "--extractors", "bundled-2")
    assert result.exit_code == 0
    assert "judgements can't be made, such as cifar10/none/0/1500/bundled-2" in result.output


def altered(change):
    everything = json.loads((RESULTS / "strength" / "strength.json").read_text())
    change(everything)
    return json.dumps(everything)


def put(*place_and_value):
    *place, name, value = place_and_value

    def change(found):
        for step in place:
            found = found[step]
        found[name] = value

    return change


NOTE = "cifar10/none/0/3000"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--page"),
        ("{", "not such a study's JSON"),
        ("[]", "valid dictionary"),
        ("[" * 100_000, "not such a study's JSON"),
        ('{"runs": {}}', "study: Field required"),
        (altered(put("trained", None)), "trained: Input should be a valid dictionary"),
        (altered(put("trained", NOTE, {})), f"trained.{NOTE}.settings: Field required"),
        (altered(put("trained", NOTE, "machine", 3)), "machine: Input should be a valid string"),
        (altered(put("judged_on", f"{NOTE}/bundled-2", {})), "judged_on"),
        (altered(put("figures", 0, "values", "none", "0", "high")), "figures.0.values.none.0"),
        (altered(put("figures", 0, "values", "none", "0", float("nan"))), "finite number"),
        (altered(put("held_out", 0, "value", "low")), "held_out.0.value"),
        (altered(put("study", "num", 10)), "other counts"),
        (altered(put("study", "datasets", "cifar10", 0.5)), "other shares of data"),
        (
            altered(put("trained", NOTE, "settings", "gan", "channels", 9)),
            f"--page: {NOTE} has other settings than in the study (gan)",
        ),
    ],
    ids=lambda value: value[:20] if value else "none",
)
def test_what_can_not_be_restored_is_one_line(content, said, reproduce, tmp_path):
    if content is not None:
        (tmp_path / "page").mkdir()
        (tmp_path / "page" / "page.json").write_text(content)
    out = ("--out", tmp_path / "out", "--page", tmp_path / "page.md")
    assert said in refused(reproduce("strength", "--restore", *out))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--restore", "--report"], "drop --report"),
        (["--restore", "--commands"], "drop --commands"),
        (["--report", "--page", "."], "name a Markdown file"),
        (["--report", "--page", "noext"], "name a Markdown file"),
        (["--report", "--out", __file__], "is a file"),
    ],
)
def test_flags_that_do_not_go_together(flags, said, reproduce, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = reproduce("strength", *flags)
    assert result.exit_code == 2
    assert said in result.output
    assert not list(tmp_path.iterdir())
