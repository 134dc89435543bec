"""The report on classifiers, and commands that are given a run of the other kind."""

import json
import re
import shutil

import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from gan_vkd.cli import cli
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump
from gan_vkd.report.page import write_report


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A classifier of digits after two epochs."""
    run = tmp_path_factory.mktemp("classifier") / "<b>a run"
    flags = ["classify", "--dataset", "digits", "--subset", "0.2", "--size", "16", "--quiet"]
    flags += ["--student", "resnet8", "--epochs", "2", "--run-dir", str(run)]
    result = CliRunner().invoke(cli, [*flags, "--set", "training.log_every=2"])
    assert result.exit_code == 0, result.output
    return run


def test_accuracy_curves_and_recipes_of_two_runs(trained, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_text(dump(ClassificationRecipe()))
    write_report([trained, bare], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;a run" in text
    assert "No accuracy: no epoch has ended" in text
    result = json.loads((trained / "result.json").read_text())
    last, images = result["last"]["top1"], result["held_out_images"]
    low, high = binomtest(round(last * images), images).proportion_ci(method="wilson")
    assert f"<td>last, 2</td><td>{last:.2%} [{low:.2%}, {high:.2%}]</td>" in text
    assert "a selection on the evaluated images" in text
    for title in ("Top-1 accuracy", "Cross-entropy of a batch", "Learning rate"):
        assert f"<figcaption>{title}</figcaption><svg" in text
    assert "The method's loss" not in text  # which neither has
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)


def test_a_run_that_has_not_ended_shows_its_last_accuracy(gan_vkd, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "result.json").unlink()
    assert gan_vkd("report", run).exit_code == 0
    text = (run / "report.html").read_text()
    assert "The run has not ended" in text
    point = json.loads((run / "curve.jsonl").read_text().splitlines()[-1])
    assert f"<td>iteration {point['iteration']}</td><td>{point['top1']:.2%} [" in text


def test_validation_images_alone(gan_vkd, make_folder, tmp_path):
    folder, run = make_folder({"a": 20, "b": 20}), tmp_path / "run"
    flags = ["--dataset", folder, "--size", 16, "--student", "resnet8", "--epochs", 1]
    flags += ["--set", "data.validation=0.2", "--set", "training.batch_size=8", "--run-dir", run]
    result = gan_vkd("classify", *flags)
    assert result.exit_code == 0, result.output
    top1 = json.loads((run / "result.json").read_text())["last"]["validation_top1"]
    assert f"top-1 {top1:.2%} of validation images" in result.stderr
    for ended in (True, False):
        assert gan_vkd("report", run).exit_code == 0
        text = (run / "report.html").read_text()
        assert "<th>epoch</th><th>top-1, validation</th></tr>" in text
        assert f"<td>{top1:.2%}</td>" in text
        assert ("The run has not ended" in text) != ended
        (run / "result.json").unlink(missing_ok=True)


def test_runs_of_the_other_kind_and_damaged_results_are_refused(refused, trained, tmp_path):
    generators = tmp_path / "generators"
    generators.mkdir()
    (generators / "config.yaml").write_text(dump(Recipe()))
    assert "report on them apart" in refused("report", generators, trained)
    for command in (["eval"], ["sample"], ["train", "--init"], ["train", "--resume", "--run-dir"]):
        assert "a run of gan-vkd classify, which has no generator" in refused(*command, trained)
    line = refused("classify", "--resume", "--run-dir", generators)
    assert "a run of gan-vkd train, which has no classifier" in line
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    whole = json.loads((run / "result.json").read_text())
    damaged = [whole | {"last": {"epoch": 1, "top1": None}}, whole | {"held_out_images": "9"}]
    damaged += [{"last": {"top1": 1}, "best": {"top1": 1}}, whole | {"best": {"epoch": 2}}, [], {}]
    for text in ("{", *map(json.dumps, damaged)):
        (run / "result.json").write_text(text)
        assert "not a result of gan-vkd classify" in refused("report", run)
