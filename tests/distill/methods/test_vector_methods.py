"""Methods for pooled features, each against a plain float64 computation, pair by pair."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

from gan_vkd.config.registry import METHODS
from gan_vkd.distill.methods.draws import uniform_integers
from gan_vkd.distill.methods.method import Setting
from gan_vkd.distill.methods.rkd import RkdLoss


def huber(difference: float) -> float:
    size = abs(difference)
    return size**2 / 2 if size <= 1 else size - 0.5


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def test_rkd():
    student, teacher = features(6, 4), features(6, 9)
    s, t = student.detach().double().numpy(), teacher.detach().double().numpy()
    count = len(s)

    def mean_distance(f: np.ndarray) -> float:
        pairs = [np.linalg.norm(f[i] - f[j]) for i in range(count) for j in range(count) if i != j]
        return sum(pairs) / len(pairs)

    def cosine(f: np.ndarray, i: int, j: int, k: int) -> float:
        a, b = f[i] - f[j], f[k] - f[j]
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / lengths) if lengths else 0.0

    distances = sum(
        huber(
            np.linalg.norm(s[i] - s[j]) / mean_distance(s)
            - np.linalg.norm(t[i] - t[j]) / mean_distance(t)
        )
        for i in range(count)
        for j in range(count)
    )
    angles = sum(
        huber(cosine(s, i, j, k) - cosine(t, i, j, k))
        for i in range(count)
        for j in range(count)
        for k in range(count)
    )
    loss = RkdLoss()(student, teacher)
    assert loss.item() == pytest.approx(distances / count**2 + 2 * angles / count**3, rel=1e-4)
    loss.backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert RkdLoss()(3 * teacher + 1, teacher) < 1e-9  # relations know no scale and shift


def plain(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def test_rkd_has_the_benchmarks_weights(make, seen):
    pair = seen.student.pooled, seen.teacher.pooled
    expected = 25 * RkdLoss(1, 0)(*pair) + 50 * RkdLoss(0, 1)(*pair)
    assert make("rkd")(seen).item() == pytest.approx(expected.item(), rel=1e-6)


def test_cc(make, seen):
    method = make("cc")

    def embedded(layer: torch.nn.Linear, features: torch.Tensor) -> np.ndarray:
        return plain(features) @ plain(layer.weight).T + plain(layer.bias)

    ours = embedded(method.embed_student, seen.student.pooled)
    theirs = embedded(method.embed_teacher, seen.teacher.pooled)
    total = 0.0
    for i in range(5):
        for d in range(128):
            total += abs(ours[i, d] - theirs[i, d]) * abs(ours[i + 1, d] - theirs[i + 1, d]) / 5
    value = method(seen)
    assert value.item() == pytest.approx(total, rel=1e-5)
    value.backward()
    assert method.embed_teacher.weight.grad.abs().sum() > 0
    assert method.settings.weight == 0.02


def test_pkt(make, seen):
    def chances(features: np.ndarray) -> np.ndarray:
        p = np.zeros((6, 6))
        for i in range(6):
            for j in range(6):
                a, b = features[i], features[j]
                p[i, j] = (1 + a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2
        return p / p.sum(axis=1, keepdims=True)

    p_s, p_t = chances(plain(seen.student.pooled)), chances(plain(seen.teacher.pooled))
    expected = np.mean(p_t * np.log((p_t + 1e-7) / (p_s + 1e-7)))
    method = make("pkt")
    assert method(seen).item() == pytest.approx(expected, rel=1e-4)
    assert method.settings.weight == 30_000


def test_srd(make, seen):
    method = make("srd")
    layer = method.loss.embed
    ours = plain(seen.student.pooled) @ plain(layer.weight).T + plain(layer.bias)

    def normed(rows: np.ndarray) -> np.ndarray:
        return (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-4)

    expected = np.log(((normed(ours) - normed(plain(seen.teacher.pooled))) ** 4).sum())
    assert method(seen).item() == pytest.approx(expected, rel=1e-5)
    assert method.settings.weight == 1


def test_vkd_is_smooth_l1_to_layer_normed_targets_averaged_over_entries(make, seen):
    method = make("vkd")
    matrix = plain(method.loss.projection.matrix())
    z = plain(seen.teacher.pooled)
    targets = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
    missed = plain(seen.student.pooled) @ matrix.T - targets
    expected = np.mean([huber(x) for x in missed.flatten()])
    assert method(seen).item() == pytest.approx(expected, rel=1e-5)
    assert np.allclose(matrix.T @ matrix, np.eye(7), atol=1e-6)


@pytest.mark.parametrize("normalise", ["none", "layernorm", "whiten", "whiten-iterative"])
@pytest.mark.parametrize("projection", ["orthogonal", "orthogonal-frozen", "linear"])
def test_vkd_takes_every_projection_and_normalisation(make, seen, normalise, projection):
    method = make("vkd", normalise=normalise, projection=projection, distance="squared")
    value = method(seen)
    targets = method.loss.targets(seen.teacher.pooled)
    expected = F.mse_loss(method.loss.predictions(seen.student.pooled), targets)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    value.backward()
    assert seen.student.pooled.grad.abs().sum() > 0


def test_vkd_over_a_data_set_takes_its_statistics_first(make, seen):
    method = make("vkd", normalise="whiten-dataset", rank=3)
    assert method(seen).item() != 0
    method.prepare(lambda: [seen.teacher])
    targets = plain(method.loss.targets(seen.teacher.pooled))
    assert np.allclose(targets.T @ targets / 6, np.eye(3), atol=1e-4)


def test_vkd_over_positions_averages_tokens_and_maps(make, seen):
    """A transformer's tokens on one side, a convolutional network's positions on the other."""
    for side in ("student", "teacher"):
        half = replace(getattr(seen, side), tokens=None)
        mixed = replace(seen, **{side: half})
        kind, setting = METHODS["vkd"], Setting(mixed.student, mixed.teacher, mixed.labels)
        method = kind(kind.Settings(method="vkd", features="positions"), setting)
        averages = []
        for outputs in (mixed.student, mixed.teacher):
            own = outputs.maps[-1].flatten(2).mT if outputs.tokens is None else outputs.tokens
            averages.append(own.mean(dim=1))
        expected = F.smooth_l1_loss(
            method.loss.predictions(averages[0]), F.layer_norm(averages[1], averages[1].shape[1:])
        )
        assert method(mixed).item() == pytest.approx(expected.item(), rel=1e-5)


def test_draws_are_murmurhash3_s_finalizer_in_whole_numbers():
    def mixed(bits: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            bits = (bits ^ bits >> 33) * factor % 2**64
        return bits ^ bits >> 33

    expected = [
        (mixed((12_345 + n * 0x9E3779B97F4A7C15) % 2**64) >> 33) * 1_000 >> 31 for n in range(50)
    ]
    found = uniform_integers(torch.tensor([12_345]), (50,), torch.tensor(1_000))
    assert found.tolist() == expected


def test_draws_are_uniform_and_a_function_of_the_key():
    below = torch.tensor([[7], [100_000]])
    first = uniform_integers(torch.tensor([1]), (2, 70_000), below)
    assert torch.equal(first, uniform_integers(torch.tensor([1]), (2, 70_000), below))
    assert not torch.equal(first, uniform_integers(torch.tensor([2]), (2, 70_000), below))
    counts = torch.bincount(first[0], minlength=7)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert scipy.stats.kstest(plain(first[1]) / 100_000, "uniform").pvalue > 1e-3
    assert first.min() >= 0
    assert first[1].max() < 100_000
    for lag in (1, 2, 256):
        shifted = np.corrcoef(plain(first[1][:-lag]), plain(first[1][lag:]))[0, 1]
        assert abs(shifted) < 0.02
    nearby = uniform_integers(torch.tensor([2]), (70_000,), torch.tensor(100_000))
    assert abs(np.corrcoef(plain(nearby), plain(first[1]))[0, 1]) < 0.02
