import contextlib
import io

import numpy as np
import prdc
import pytest
import torch
from scipy.spatial.distance import cdist

from gan_vkd.evaluation import compute_clipped, compute_prdc, distances
from gan_vkd.evaluation.prdc import expected_coverage


def by_the_package(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        values = prdc.compute_prdc(real.astype(np.float64), fake.astype(np.float64), k)
    return {name: float(value) for name, value in values.items()}


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Naeem et al. 2020, equations 1 to 6, written out."""
    real_radii = np.sort(cdist(real, real), axis=1)[:, k]
    fake_radii = np.sort(cdist(fake, fake), axis=1)[:, k]
    distances = cdist(real, fake)
    return {
        "precision": (distances < real_radii[:, None]).any(axis=0).mean(),
        "recall": (distances < fake_radii[None]).any(axis=1).mean(),
        "density": (distances < real_radii[:, None]).sum(axis=0).mean() / k,
        "coverage": (distances.min(axis=1) < real_radii).mean(),
    }


def normal(*shape: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) + shift


def whole_numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, size=(150, 6)).astype(float)


SETS = {
    "two distributions": (normal(220, 40), normal(180, 40, seed=1, shift=0.2)),
    "more generated": (normal(90, 12), normal(310, 12, seed=1)),
    "identical": (normal(150, 20), normal(150, 20)),
    "threefold": (np.repeat(normal(60, 20), 3, axis=0), normal(150, 20, seed=1)),
    "threefold generated": (normal(150, 20), np.repeat(normal(60, 20, seed=1), 3, axis=0)),
    "ten copies": (np.concatenate([normal(90, 8), normal(1, 8).repeat(10, 0)]), normal(100, 8)),
    "all alike": (np.ones((20, 4)), np.ones((30, 4))),
    "many ties": (whole_numbers(0), whole_numbers(1)),
    "one outlier": (np.concatenate([normal(99, 9), 1e4 + normal(1, 9)]), normal(100, 9, seed=1)),
    "far from zero": (normal(99, 9, shift=1e3), normal(100, 9, seed=1, shift=1e3)),
    "one dimension": (normal(120, 1), normal(110, 1, seed=1)),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("chunk", [32, 2048])
def test_equal_to_the_authors_package(name, k, chunk, monkeypatch):
    monkeypatch.setattr(distances, "CHUNK", chunk)
    real, fake = SETS[name]
    found = compute_prdc(real, fake, nearest_k=k)
    expected = (
        by_definition(real, fake, k) if name == "far from zero" else by_the_package(real, fake, k)
    )
    counts = {"precision": len(fake), "recall": len(real), "density": len(fake) * k}
    counts["coverage"] = len(real)
    for metric, count in counts.items():  # as whole numbers of images
        assert round(found[metric] * count) == round(expected[metric] * count), metric


def test_equal_to_the_authors_package_on_photographs(photograph_features):
    """Real features, in float32 as extractors give them, against the package in float64."""
    real, fake = photograph_features[:1500].numpy(), photograph_features[1500:2900].numpy()
    found, expected = compute_prdc(real, fake, 5), by_the_package(real, fake, 5)
    assert found == pytest.approx(expected, rel=1e-12)
    half = compute_prdc(real, fake[:700], 5)
    assert half == pytest.approx(by_the_package(real, fake[:700], 5), rel=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_blocks_of_float64_as_on_cuda_decide_alike(name, monkeypatch):
    real, fake = SETS[name]
    expected = compute_prdc(real, fake, 5)
    monkeypatch.setattr(distances, "block_type", lambda _: torch.float64)
    assert compute_prdc(real, fake, 5) == expected


def test_nothing_is_printed(capsys):
    compute_prdc(normal(30, 4), normal(30, 4, seed=1), 3)
    assert capsys.readouterr().out == ""


def test_float32_decisions_are_those_of_float64():
    """Points so near their radius that float32 can't tell: all rechecked, all right."""
    circle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    real = np.stack([np.cos(circle), np.sin(circle)], axis=1) + 100
    fake = real + 1e-7 * normal(400, 2)
    found = compute_prdc(real, fake, 3)
    assert found == pytest.approx(by_definition(real, fake, 3), rel=1e-12)


@pytest.mark.parametrize(
    ("real", "fake", "k", "says"),
    [
        (normal(10, 3), normal(10, 4), 2, r"\[N, d\] and \[M, d\]"),
        (normal(5, 3), normal(10, 3), 5, "needs more than 5 points, got 5"),
        (normal(10, 3), normal(10, 3), 0, "nearest_k = 0"),
        (normal(10, 3), np.full((10, 3), np.nan), 2, "finite"),
    ],
)
def test_what_can_t_be_computed(real, fake, k, says):
    with pytest.raises(ValueError, match=says):
        compute_prdc(real, fake, k)


def test_a_drop_in_by_keywords_and_for_all_that_is_like_an_array():  # CASES 24
    real, fake = normal(60, 6), normal(50, 6, seed=1)
    expected = compute_prdc(real, fake, 5)
    assert compute_prdc(real_features=real, fake_features=fake, nearest_k=5) == expected
    assert compute_prdc(real.tolist(), fake.tolist(), 5) == expected
    tensor = torch.from_numpy(real).requires_grad_()
    assert compute_prdc(tensor, torch.from_numpy(fake), 5) == expected
    assert compute_prdc(real[::-1], fake[:, ::-1][:, ::-1], 5) == pytest.approx(expected)
    clipped = compute_clipped(real, fake, 5)
    assert compute_clipped(real_features=real.tolist(), fake_features=tensor[:50], nearest_k=5)
    assert compute_clipped(real[::-1], torch.from_numpy(fake), 5) == pytest.approx(clipped)
    half = torch.from_numpy(real).bfloat16()
    assert compute_prdc(half, half, 5) == compute_prdc(half.double(), half.double(), 5)
    whole = real > 0
    assert compute_prdc(whole, fake > 0, 5) == compute_prdc(whole * 1.0, (fake > 0) * 1.0, 5)
    for wrong in (real * 1j, [["a", "b"]] * 60, [[None]] * 60):
        with pytest.raises(ValueError, match="real numbers"):
            compute_prdc(wrong, wrong, 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1e19, 1e30, 1e-25, 1e-33])
def test_the_size_of_features_is_no_matter(factor, dtype):  # CASES 24
    real, fake = normal(60, 6).astype(dtype), normal(50, 6, seed=1).astype(dtype)
    expected = compute_prdc(real, fake, 5)
    assert compute_prdc(real * dtype(factor), fake * dtype(factor), 5) == expected
    extreme = normal(60, 6) * 1e300, normal(50, 6, seed=1) * 1e300
    assert compute_prdc(*extreme, 5) == compute_prdc(normal(60, 6), normal(50, 6, seed=1), 5)


def test_expected_coverage_by_simulation():
    draws = np.random.default_rng(0)
    found = [
        compute_prdc(draws.normal(size=(60, 3)), draws.normal(size=(60, 3)), 3)["coverage"]
        for _ in range(100)
    ]
    assert np.mean(found) == pytest.approx(expected_coverage(60, 60, 3), abs=0.02)
    assert expected_coverage(5000, 5000, 5) == pytest.approx(0.969, abs=5e-4)
