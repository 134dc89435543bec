"""What is kept of real images: by content, and computed again where the content differs."""

import numpy as np
import pytest
import torch

from gan_vkd.evaluation import kept, yardstick
from gan_vkd.evaluation.features import Features
from gan_vkd.evaluation.frechet import Gaussian
from gan_vkd.evaluation.kept import of_real
from gan_vkd.evaluation.metrics import Metric
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Asks for the sum of an array, in a cache of its own, and counts computations."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed = []

    def ask(array: np.ndarray, *settings: object) -> float:
        def compute() -> dict[str, torch.Tensor]:
            computed.append(1)
            return {"sum": torch.tensor([float(array.sum())])}

        return float(of_real("sum", (array,), settings, CPU, compute, QUIET)["sum"])

    return ask, computed


def test_computed_once_and_by_content_type_and_settings(asked):
    ask, computed = asked
    array = np.arange(6, dtype=np.float32)
    assert ask(array) == ask(array.copy()) == 15
    assert len(computed) == 1
    assert ask(array + 1) == 21
    for other in (array.reshape(2, 3), array.view(np.int32)):
        ask(other)
    ask(array, 5)
    assert len(computed) == 5


def test_another_version_computes_anew(asked, monkeypatch):
    ask, computed = asked
    ask(np.ones(3))
    monkeypatch.setattr(kept, "version", lambda _: "another")
    ask(np.ones(3))
    assert len(computed) == 2


def test_a_damaged_entry_is_computed_again(asked, tmp_path):
    ask, computed = asked
    ask(np.ones(3))
    (entry,) = tmp_path.rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:-2])
    assert ask(np.ones(3)) == 3
    assert ask(np.ones(3)) == 3
    assert len(computed) == 2


def test_a_gaussian_and_metrics_come_back_as_they_were(asked):
    features = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    expected = Gaussian.of_features(features)
    metrics = {"fid": Metric(1.5, 1.0, 2.0), "inception_score": Metric(None), "kid": Metric(0.1)}
    sides = ((Features(torch.from_numpy(features)), torch.zeros(50).long()),) * 2
    for _ in range(2):
        found = yardstick.kept_gaussian(features, CPU, QUIET)
        assert (found.mean == expected.mean).all()
        assert (found.factor == expected.factor).all()
        again = yardstick.kept_metrics(sides, (5,), CPU, lambda: metrics, QUIET)
        assert list(again.items()) == list(metrics.items())
    other = {"fid": Metric(2.0)}
    assert yardstick.kept_metrics(sides, (6,), CPU, lambda: other, QUIET) == other
