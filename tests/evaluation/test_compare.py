import json

import numpy as np
import pytest
import torch

from gan_vkd.evaluation.compare import compare
from gan_vkd.evaluation.frechet import Gaussian
from gan_vkd.evaluation.metrics import as_json, frechet_metric
from gan_vkd.evaluation.table import with_interval


def result(fid: float, width: float | None, **protocol: object) -> dict:
    low, high = (None, None) if width is None else (fid - width, fid + width)
    metrics = {"fid": {"value": fid, "low": low, "high": high}}
    metrics["inception_score"] = {"value": None, "low": None, "high": None}
    return {
        "extractor": "bundled-1",
        "protocol": {"judged": "x", "judged_count": 5000, "nearest_k": 5, **protocol},
        "metrics": metrics,
    }


@pytest.fixture
def written(tmp_path):
    def write(name: str, content: dict) -> object:
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


def test_differences_and_their_intervals(written):
    one = written("a.json", result(5.0, 0.3, judged="one run"))
    other = written("b.json", result(4.0, 0.4, judged="another"))
    found = compare(one, other)["metrics"]
    assert found["fid"]["difference"] == pytest.approx({"value": -1.0, "low": -1.5, "high": -0.5})
    assert found["inception_score"]["difference"]["value"] is None
    saturated = written("c.json", result(4.0, None))
    assert compare(one, saturated)["metrics"]["fid"]["difference"]["low"] is None


def test_the_command_prints_and_writes_it(gan_vkd, written, tmp_path):
    one, other = written("a.json", result(5.0, 0.3)), written("b.json", result(4.0, 0.4))
    out = gan_vkd("eval", "--compare", one, other, "--json", tmp_path / "d.json")
    assert out.exit_code == 0, out.output
    assert "FID[bundled-1]" in out.stdout
    assert "-1.00 ± 0.50" in out.stdout
    assert json.loads((tmp_path / "d.json").read_text())["metrics"]["fid"]["second"]["value"] == 4
    piped = gan_vkd("eval", "--compare", one, other, "--json", "-", "--quiet")
    assert json.loads(piped.stdout)["extractor"] == "bundled-1"


def test_what_intervals_assume_is_said(gan_vkd, written):
    """Independent samples, pairs of one latent each, and one run's: the last with a warning."""
    one = written("a.json", result(5.0, 0.3, run="first", latent_seed=0))
    for protocol, paired, warned in (
        ({"run": "second", "latent_seed": 1}, False, False),
        ({"run": "first", "latent_seed": 1}, False, False),
        ({"run": "second", "latent_seed": 0}, True, False),
        ({"run": "first", "latent_seed": 0}, True, True),
        ({}, False, False),
    ):
        other = written("b.json", result(4.0, 0.4, **protocol))
        found = compare(one, other)
        assert ("samples of one latent seed" in found["intervals"]) == paired, protocol
        assert ("samples taken as independent" in found["intervals"]) != paired, protocol
        assert (found["warning"] is not None) == warned, protocol
        out = " ".join(gan_vkd("eval", "--compare", one, other).stdout.split())
        assert ("Evaluate one of them again with --seed 1" in out) == warned, protocol


def generator(seed: int) -> list[np.ndarray]:
    draws = np.random.default_rng(seed)
    return [draws.normal(size=(16, 32)) / 4, draws.normal(size=(32, 8)) / 4]


def samples(generator: list[np.ndarray], latents: np.ndarray) -> np.ndarray:
    return (np.tanh(latents @ generator[0] * 1.5) @ generator[1]).astype(np.float32)


@pytest.mark.parametrize("related", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_intervals_hold_and_are_too_wide_where_that_is_said(written, related, shared):
    """100 pairs of samples: standard errors of the difference, given and found."""
    draws = np.random.default_rng(0)
    first, other = generator(0), generator(1)
    second = [a + 0.15 * b for a, b in zip(first, other, strict=True)] if related else other
    real = Gaussian.of_features(samples(generator(2), draws.normal(size=(1_000, 16))))
    changes, halves = [], []
    for _ in range(100):
        latents = draws.normal(size=(300, 16))
        others = latents if shared else draws.normal(size=(300, 16))
        files = []
        for name, images in (("a", samples(first, latents)), ("b", samples(second, others))):
            metrics = as_json({"fid": frechet_metric(torch.from_numpy(images), real)})
            files.append(written(f"{name}.json", {**result(0, None), "metrics": metrics}))
        difference = compare(*files)["metrics"]["fid"]["difference"]
        changes.append(difference["value"])
        halves.append(difference["high"] - difference["value"])
    ratio = np.mean(halves) / 1.96 / np.std(changes)
    if related and shared:
        assert ratio > 1.8
    else:
        assert ratio == pytest.approx(1, abs=0.25)


def test_figures_have_the_digits_of_their_interval():
    for value, half, text in ((7.9687, 0.2541, "7.97 ± 0.25"), (0.0707, 0.0034, "0.0707 ± 0.0034")):
        metric = {"value": value, "low": value - half, "high": value + half}
        assert with_interval(metric) == text
    assert with_interval({"value": 0.00005, "low": None, "high": None}) == "0.00005"
    assert with_interval({"value": None, "low": None, "high": None}) == "-"


def test_two_protocols_are_refused(refused, written):
    one = written("a.json", result(5.0, 0.3))
    for key, value in (("nearest_k", 3), ("judged_count", 100), ("reference_sha256", "0")):
        other = written("b.json", result(5.0, 0.3, **{key: value}))
        assert f"different protocols: {key}" in refused("eval", "--compare", one, other)
    inception = written("c.json", {**result(5.0, 0.3), "extractor": "inception"})
    assert "extractor is 'bundled-1'" in refused("eval", "--compare", one, inception)


def test_what_is_no_result(refused, written, tmp_path):
    one = written("a.json", result(5.0, 0.3))
    for content in ({}, [], {"metrics": {"fid": 3}}, {"metrics": {}, "extractor": "x"}):
        assert "not a result of gan-vkd eval" in refused(
            "eval", "--compare", one, written("b.json", content)
        )
    assert "not a result" in refused("eval", "--compare", one, tmp_path / "nothing.json")
    (tmp_path / "run").mkdir()
    assert "not evaluated yet" in refused("eval", "--compare", one, tmp_path / "run")
    assert "drop --num" in refused("eval", "--compare", one, one, "--num", 10)
