"""scripts/reproduce on a toy study: digits, preset tiny, 2 arms x 2 seeds x 2 checkpoints."""

import gzip
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.evaluation.features import load_extractor
from gan_vkd.evaluation.protocol import figures
from gan_vkd.gan.exported import load_generator
from gan_vkd.progress import QUIET
from gan_vkd.study import stages
from gan_vkd.study.page import write_page
from gan_vkd.study.plan import Workplace, read_study
from gan_vkd.study.results import Results
from gan_vkd.tensors import read_tensors

STUDIES = Path(__file__).resolve().parents[2] / "configs" / "studies"
QUICK = ("arms", "--quick", "--arms", "none,whiten")
UNITS = [f"digits/{arm}/{seed}" for seed in (0, 1) for arm in ("none", "whiten")]


def here(out, unit):
    return out / "digits-0.1" / unit.partition("/")[2]


def same_bits(file, folder):
    ours, theirs = read_tensors(file)[0], read_tensors(folder / file.name)[0]
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def done(reproduce, tmp_path_factory):
    """The first unit, trained and judged in this process; the others are its copies.

    Their FIDs are 1, 2, 3, 4 in the order of `UNITS`.
    """
    out = tmp_path_factory.mktemp("reproduce")
    first = ("--unit", UNITS[0], "--out", out, "--quiet")
    result = reproduce(*QUICK, "--train", "--judge", *first)
    assert result.exit_code == 0, result.output
    for number, unit in enumerate(UNITS):
        folder = here(out, unit)
        if number:
            shutil.copytree(here(out, UNITS[0]), folder)
        for file in folder.glob("?.json"):
            notes = json.loads(file.read_text())
            notes["settings"]["training"]["seed"] = number // 2
            if "whiten" in unit:
                notes["settings"]["teacher"]["spec"] = "efficientnet-lite0"
            file.write_text(json.dumps(notes))
        for file in folder.glob("?-*.json"):
            figures = json.loads(file.read_text())
            figures["metrics"]["fid"]["value"] = number + 1.0
            file.write_text(json.dumps(figures))
    return out


def test_a_unit_leaves_generators_notes_figures_and_a_log(done):
    folder = here(done, UNITS[0])
    names = {path.name for path in folder.iterdir()}
    kinds = ("{}.safetensors", "{}.json", "{}-bundled-1-60.json")
    assert names == {kind.format(n) for n in (2, 4) for kind in kinds} | {"log.jsonl.gz"}
    log = gzip.decompress((folder / "log.jsonl.gz").read_bytes()).splitlines()
    log = [json.loads(line) for line in log]
    assert [line["iteration"] for line in log] == [2, 4]
    for number in (2, 4):
        card = load_generator(folder / f"{number}.safetensors").card
        assert card["iteration"] == str(number)
        notes = json.loads((folder / f"{number}.json").read_text())
        lines = log[: number // 2]
        mean = sum(line["overfitting"] for line in lines) / len(lines)
        assert notes["log"]["overfitting"] == pytest.approx(mean)
        assert notes["log_lines"] == [line["iteration"] for line in lines]
        images = 2 * 8 * 2  # iterations a line, batch, steps of D
        seconds = sum(images / line["images_per_second"] for line in lines)
        assert notes["seconds"] == pytest.approx(seconds, abs=0.06)


def test_metrics_are_those_of_gan_vkd_eval(done):
    """From the generator that was put aside, by the function that eval measures with."""
    unit = here(done, UNITS[0])
    result = json.loads((unit / "4-bundled-1-60.json").read_text())
    protocol = result["protocol"]
    assert (protocol["judged_count"], protocol["reference"]) == (60, "digits:train")
    generator = load_generator(unit / "4.safetensors")
    labels = generator.labels(60)
    samples = ImageSet(generator.sample(60, labels.tolist(), 0), labels, generator.class_names)
    expected = figures(
        samples,
        load_dataset("digits", image_size=16).train,
        extractor=load_extractor("bundled-1", None, torch.device("cpu")),
        nearest_k=5,
        reporter=QUIET,
    )
    assert result["metrics"].keys() == expected.keys()
    for name in ("kid", "density"):  # the FIDs are made up
        assert result["metrics"][name]["value"] == pytest.approx(expected[name]["value"], rel=1e-4)


def test_what_is_done_is_not_done_again(done, reproduce, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    monkeypatch.setattr(stages, "side_by_side", lambda commands, **_: not commands)
    result = reproduce(*QUICK, "--train", "--judge", "--out", done)
    assert result.exit_code == 0, result.output
    assert "train and judge: 4 of 4 are done" in result.stderr
    for unit in UNITS:
        assert reproduce(*QUICK, "--train", "--unit", unit, "--out", done).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before


def test_an_interrupted_unit_goes_on_to_the_same_bits(done, reproduce, tmp_path):
    unit = UNITS[0]
    arguments = (*QUICK, "--train", "--unit", unit, "--out", tmp_path, "--quiet")
    folder = here(tmp_path, unit)
    stopped = reproduce(*arguments, "--time-limit", "0s")
    assert stopped.exit_code == stages.UNFINISHED
    assert not list(folder.glob("*.json"))
    assert (folder / "run").is_dir()
    assert reproduce(*arguments).exit_code == 0
    assert not (folder / "run").exists()
    for number in (2, 4):
        assert same_bits(folder / f"{number}.safetensors", here(done, unit))
    # A later checkpoint alone was lost: nothing earlier is trained again for the notes.
    (folder / "4.json").unlink()
    time = (folder / "2.json").stat().st_mtime_ns
    assert reproduce(*arguments).exit_code == 0
    assert (folder / "2.json").stat().st_mtime_ns == time
    assert same_bits(folder / "4.safetensors", here(done, unit))


def test_a_printed_command_does_its_unit(reproduce, tmp_path):
    result = reproduce(*QUICK, "--train", "--out", tmp_path, "--commands")
    lines = result.stdout.splitlines()
    assert [shlex.split(line)[-1] for line in lines] == UNITS
    env = {**os.environ, "PYTHONPATH": ""}
    ended = subprocess.run(lines[1], shell=True, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    notes = json.loads((here(tmp_path, UNITS[1]) / "4.json").read_text())
    assert {"fit_train", "fit_held_out", "gradient_ratio"} <= notes["log"].keys()
    assert [path.name for path in tmp_path.glob("digits-0.1/*/*")] == ["0"]


def test_a_run_that_fails_is_noted_and_the_others_go_on(done, reproduce, tmp_path, monkeypatch):
    """In place of processes: units in this one, of which one finds another's checkpoint."""

    def one_by_one(commands, *, ended, **_):
        for name, command in commands.items():
            result = reproduce(*command[2:])
            ended(stages.Ended(name, result.exit_code, result.stderr))
        return True

    monkeypatch.setattr(stages, "side_by_side", one_by_one)
    for unit in UNITS:
        here(tmp_path, unit).mkdir(parents=True)
        for number in (2, 4):
            notes = (here(done, unit) / f"{number}.json").read_text()
            if unit == UNITS[1]:
                notes = notes.replace('"batch_size": 8', '"batch_size": 9')
            if (unit, number) not in ((UNITS[0], 4), (UNITS[1], 4)):
                (here(tmp_path, unit) / f"{number}.json").write_text(notes)
    result = reproduce(*QUICK, "--train", "--out", tmp_path)
    assert result.exit_code == 1
    line = (here(tmp_path, UNITS[1]) / "error.txt").read_text()
    assert "trained with other settings (training)" in line
    assert f"2/2 {UNITS[1]} failed: " in result.stderr
    assert (here(tmp_path, UNITS[0]) / "4.safetensors").is_file()


def test_the_page_has_every_arm_claim_and_difference(done, reproduce, tmp_path):
    page = tmp_path / "results" / "arms.md"
    (here(done, UNITS[3]) / "error.txt").write_text("the discriminator is dead\n")
    result = reproduce(*QUICK, "--report", "--out", done, "--page", page)
    (here(done, UNITS[3]) / "error.txt").unlink()
    assert result.exit_code == 0, result.output
    text, everything = (
        page.read_text(),
        json.loads((page.with_suffix("") / "arms.json").read_text()),
    )
    [row] = [
        row for row in everything["figures"] if (row["metric"], row["iteration"]) == ("fid", 4)
    ]
    assert row["values"] == {"none": {"0": 1, "1": 3}, "whiten": {"0": 2, "1": 4}}
    assert row["over_seeds"]["none"] == {"mean": 2, "deviation": pytest.approx(2**0.5), "count": 2}
    one = {"mean": 1, "low": 1, "high": 1, "count": 2}  # whiten is worse by 1 under both seeds
    assert row["less_baseline"] == {"whiten": one}
    assert "| 1.00 [1.00, 1.00] (2) |" in text
    [fid] = [claim for claim in everything["claims"] if claim["metric"] == "fid"]
    assert (fid["difference"], fid["verdict"]) == (one, "against")
    claims = {(claim["arm"], claim["against"]) for claim in everything["claims"]}
    assert claims == {("whiten", "none")}
    assert "Failed: digits/whiten/1: the discriminator is dead" in text
    assert "scripts/reproduce arms --judge" in text
    for name in ("fid", "recall", "overfitting"):
        picture = page.with_suffix("") / f"digits-{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"(arms/{picture.name})" in text


def test_times_of_two_machines_have_a_column_each(done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    took = {UNITS[0]: ("slow", 300), UNITS[2]: ("fast", 10), UNITS[1]: ("slow", 400),
            UNITS[3]: ("slow", 600)}  # fmt: skip
    for unit, (machine, seconds) in took.items():
        for number in (2, 4):
            file = here(out, unit) / f"{number}.json"
            noted = json.loads(file.read_text()) | {"machine": machine, "seconds": seconds}
            file.write_text(json.dumps(noted))
    study = read_study(STUDIES / "arms.yaml", quick=True, only={"arms": ["none", "whiten"]})
    write_page(Results(Workplace(study, out)), tmp_path / "arms.md")
    rows = {line.split()[1]: line for line in (tmp_path / "arms.md").read_text().splitlines()
            if line.startswith("| ") and len(line.split("|")) == 5}  # fmt: skip
    assert [cell.strip() for cell in rows["arm"].split("|")[2:4]] == ["slow", "fast"]
    assert [cell.strip() for cell in rows["none"].split("|")[2:4]] == ["300 (1)", "10.0 (1)"]
    assert [cell.strip() for cell in rows["whiten"].split("|")[2:4]] == ["500 ± 141 (2)", "-"]


def test_the_extractors_agreement_is_spearmans(done, tmp_path):
    """FIDs 1, 2, 3, 4 by one, 1, 3, 2, 4 by another: 1 - 6 · (1 + 1) / (4 · 15) = .8."""
    out = tmp_path / "out"
    shutil.copytree(done, out)
    study = read_study(STUDIES / "arms.yaml", quick=True, only={"arms": ["none", "whiten"]})
    work = Workplace(study.model_copy(update={"extractors": ["bundled-1", "other"]}), out)
    for unit, fid in zip(UNITS, (1, 3, 2, 4), strict=True):
        result = json.loads((here(out, unit) / "4-bundled-1-60.json").read_text())
        result["metrics"]["fid"]["value"] = fid
        (here(out, unit) / "4-other-60.json").write_text(json.dumps(result))
    results = Results(work)
    fid = results.agreement("digits")["bundled-1", "other"]["fid"]
    assert fid == (pytest.approx(0.8), 4)
    [row] = [r for r in results.as_json()["rank_correlations"] if r["metric"] == "fid"]
    assert (row["spearman"], row["count"]) == fid
    write_page(results, tmp_path / "arms.md")
    assert (
        "| digits | bundled-1 and other |          4 | 0.800 |"
        in (tmp_path / "arms.md").read_text()
    )


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_short_and_long(reproduce, flag):
    result = reproduce(flag)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize(
    ("flag", "value", "line"),
    [
        ("--seeds", "x", "'x' is no list of whole numbers"),
        ("--checkpoints", "7", "checkpoints: 7 is none of 2, 4"),
        ("--extractors", "vgg", "extractors: 'vgg' is none of bundled-1"),
    ],
)
def test_a_choice_that_is_none_is_one_line(reproduce, flag, value, line):
    result = reproduce(*QUICK, "--commands", flag, value)
    assert result.exit_code == 2
    assert line in result.stderr.splitlines()[-1]


def test_an_unknown_unit_is_refused(reproduce, tmp_path):
    result = reproduce(*QUICK, "--train", "--unit", "digits/nobody/0", "--out", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: --unit digits/nobody/0: none of ")
