"""Metrics at a small count while a run trains, and the checkpoint chosen by them."""

import json

import pytest
import torch
from click.testing import CliRunner

from gan_vkd import load_generator
from gan_vkd.cli import cli
from gan_vkd.evaluation.curves import Curve
from gan_vkd.evaluation.features import BUNDLED

FLAGS = ["--preset", "tiny", "--quiet", "--teacher", "none"]
FLAGS += ["--set", "training.eval_every=4", "--set", "training.eval_num=60"]
FLAGS += ["--set", "training.log_every=4", "--set", "training.checkpoint_every=4"]
FLAGS += ["--set", "data.validation=0.1"]


def train(run, *flags: object):
    arguments = ["train", "--run-dir", str(run), *map(str, flags)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("curve") / "run"
    train(path, *FLAGS, "--iterations", 12)
    return path


def lines(run) -> list[dict]:
    return [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]


def test_a_line_an_evaluation_with_its_protocol(run):
    assert [line["iteration"] for line in lines(run)] == [4, 8, 12]
    first = lines(run)[0]
    assert first["extractor"] == BUNDLED
    assert (first["count"], first["reference"]) == (60, "validation images")
    assert first["reference_count"] == 162  # a tenth of 1,617
    for name in ("fid", "precision", "recall", "density", "coverage", "clipped_coverage"):
        assert isinstance(first[name], float), name


def test_the_generator_of_the_lowest_fid_is_kept(run, gan_vkd):
    best = min(lines(run), key=lambda line: line["fid"])["iteration"]
    generator = load_generator(run / "best.safetensors")
    assert generator.card["iteration"] == str(best)
    assert f"lowest FID[{BUNDLED}] of 60 samples against 162 validation" in generator.card["chosen"]
    result = gan_vkd("eval", run, "--checkpoint", "best", "--num", 50, "--json", "-", "--quiet")
    protocol = json.loads(result.stdout)["protocol"]
    assert protocol["checkpoint"].startswith(f"iteration {best}, lowest FID[{BUNDLED}]")
    assert protocol["training_count"] == 1617 - 162
    assert len(list((run / "eval").glob("*-best.json"))) == 1


def test_an_undefined_figure_stops_nothing_and_one_that_is_no_number_does(
    tmp_path, monkeypatch, refused
):
    monkeypatch.setattr(Curve, "measure", lambda *_: {"fid": 1.0, "clipped_coverage": None})
    train(tmp_path / "run", *FLAGS, "--iterations", 4)
    assert lines(tmp_path / "run")[0]["clipped_coverage"] is None
    monkeypatch.setattr(Curve, "measure", lambda *_: {"fid": float("nan")})
    line = refused("train", *FLAGS, "--iterations", 4, "--run-dir", tmp_path / "other")
    assert "fid is nan at iteration 4" in line
    assert not (tmp_path / "other" / "best.safetensors").exists()


def test_a_resumed_run_has_the_same_curve(run, tmp_path):
    train(tmp_path / "cut", *FLAGS, "--iterations", 8)
    train(tmp_path / "cut", "--resume", "--quiet", "--iterations", 12)
    assert lines(tmp_path / "cut") == lines(run)
    one, other = (load_generator(p / "best.safetensors") for p in (run, tmp_path / "cut"))
    assert one.card == other.card
    assert torch.equal(one.sample(20), other.sample(20))


def test_without_validation_images_nothing_is_chosen(refused, tmp_path):
    flags = [flag if flag != "data.validation=0.1" else "data.validation=0" for flag in FLAGS]
    train(tmp_path / "run", *flags, "--iterations", 4)
    assert lines(tmp_path / "run")[0]["reference"] == "training images"
    assert not (tmp_path / "run" / "best.safetensors").exists()
    assert "has chosen no checkpoint" in refused("eval", tmp_path / "run", "--checkpoint", "best")


def test_validation_that_leaves_too_few_is_refused(refused, tmp_path):
    line = refused("train", *FLAGS, "--set", "data.validation=0.0001", "--run-dir", tmp_path / "x")
    assert "data.validation 0.0001: 0 of 1617 images are too few" in line
    assert not (tmp_path / "x").exists()


def test_an_evaluation_that_a_signal_took_away_is_made_good(run, tmp_path):
    """The checkpoint of iteration 8 is there, its line is not: the resumed run begins with it."""
    train(tmp_path / "cut", *FLAGS, "--iterations", 8)
    curve = tmp_path / "cut" / "curve.jsonl"
    curve.write_text(curve.read_text().splitlines(keepends=True)[0] + '{"iteration": 8')
    train(tmp_path / "cut", "--resume", "--quiet", "--iterations", 12)
    assert lines(tmp_path / "cut") == lines(run)
