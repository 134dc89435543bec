import pytest
import torch

from gan_vkd.distill import normalise
from gan_vkd.distill.normalise import (
    NORMALISATIONS,
    LayerNorm,
    Whiten,
    WhitenDataset,
    WhitenIterative,
    newton_schulz,
    scales,
)
from gan_vkd.errors import GanVkdError


def features(batch: int, dim: int, rank: int | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    mixing = torch.randn(rank or dim, dim, dtype=torch.float64)
    return torch.randn(batch, rank or dim, dtype=torch.float64) @ mixing + 5


def test_layer_norm_rows():
    z = LayerNorm()(features(7, 30))
    assert torch.allclose(z.mean(dim=1), torch.zeros(7).double(), atol=1e-6)
    assert torch.allclose(z.square().mean(dim=1), torch.ones(7).double(), atol=1e-4)


BATCH_WHITENINGS = pytest.mark.parametrize("whiten", [Whiten(), WhitenIterative(iterations=25)])


@BATCH_WHITENINGS
def test_more_images_than_channels_decorrelates_channels(whiten):
    z = whiten(features(100, 20))
    assert torch.allclose(z.T @ z / 100, torch.eye(20).double(), atol=1e-8)
    assert torch.allclose(z.mean(dim=0), torch.zeros(20).double(), atol=1e-10)


@BATCH_WHITENINGS
@pytest.mark.parametrize("batch", [20, 45])
def test_fewer_images_than_channels_makes_a_simplex(whiten, batch):
    z = whiten(features(batch, 50))
    lengths = z.norm(dim=1)
    assert torch.allclose(lengths, lengths.mean().expand(batch), rtol=1e-8)
    cosines = (z @ z.T) / lengths.square().mean()
    off_diagonal = cosines[~torch.eye(batch).bool()]
    expected = torch.full_like(off_diagonal, -1 / (batch - 1))
    assert torch.allclose(off_diagonal, expected, atol=1e-8)
    assert torch.allclose(z.mean(dim=0), torch.zeros(50).double(), atol=1e-10)


@pytest.mark.parametrize(("batch", "dim", "rank"), [(30, 40, 7), (60, 20, 7), (30, 40, None)])
@pytest.mark.parametrize("name", sorted(set(NORMALISATIONS) - {"none"}))
def test_mean_squared_entry_is_one_at_any_rank(name, batch, dim, rank):
    z = NORMALISATIONS[name]()(features(batch, dim, rank))
    assert torch.allclose(z.square().mean(), torch.ones(()).double(), atol=1e-5)


def test_both_sides_agree_with_the_singular_value_decomposition():
    for batch, dim in ((30, 40), (40, 30)):
        x = features(batch, dim)
        u, s, v = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
        kept = s.square() > 1e-6 * s.square().mean()
        polar = u[:, kept] @ v[kept]
        scale = (batch * dim / kept.sum()).sqrt()
        assert torch.allclose(Whiten()(x), polar * scale, atol=1e-7)


@pytest.mark.parametrize("ridge", [0.01, 0.3, 5.0])
@pytest.mark.parametrize(("batch", "dim"), [(30, 40), (40, 30)])
def test_a_ridge_is_added_to_the_squared_singular_values(batch, dim, ridge):
    x = features(batch, dim)
    u, s, v = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    values = s.square()
    gains = 1 / (values + ridge * values.mean()).sqrt()
    gains[values < 1e-4 * values.mean()] = 0
    expected = u * (s * gains) @ v
    expected = expected / expected.square().mean().sqrt()
    assert torch.allclose(Whiten(ridge)(x), expected, atol=1e-9)


def test_a_ridge_without_bound_leaves_the_centred_features():
    x = features(20, 50)
    centred = x - x.mean(dim=0)
    expected = centred / centred.square().mean().sqrt()
    assert torch.allclose(Whiten(1e9)(x), expected, atol=1e-6)


def test_near_copies_stay_near_with_a_ridge_alone():
    """As the docstring says: without one they are as far apart as any two."""
    x = features(20, 50)
    x[1] = x[0] + 0.1 * x.std() * torch.randn(50)
    apart = {}
    for ridge in (0, 0.1):
        z = Whiten(ridge)(x)
        apart[ridge] = (z[0] - z[1]).norm() / (z[0] - z[2]).norm()
    assert apart[0] == pytest.approx(1, abs=1e-6)
    assert apart[0.1] < 0.5


def test_a_negative_ridge_is_refused():
    with pytest.raises(ValueError, match=r"ridge=-0\.1: must be 0 or more"):
        Whiten(-0.1)


@BATCH_WHITENINGS
def test_shift_and_scale_of_the_features_do_not_matter(whiten):
    x = features(40, 30)
    assert torch.allclose(whiten(3 * x - 7), whiten(x), atol=1e-7)


@BATCH_WHITENINGS
def test_affine_maps_only_rotate_the_targets_of_a_large_batch(whiten):
    x = features(100, 20)
    mixing = torch.linalg.qr(torch.randn(20, 20).double())[0] * torch.linspace(1, 3, 20)
    before, after = whiten(x), whiten(x @ mixing + 2)
    assert torch.allclose(before @ before.T, after @ after.T, atol=1e-7)


@BATCH_WHITENINGS
def test_affine_maps_leave_the_simplex_of_a_small_batch(whiten):
    x = features(20, 50)
    mixing = torch.linalg.qr(torch.randn(50, 50).double())[0] * torch.linspace(1, 3, 50)
    before, after = whiten(x), whiten(x @ mixing + 2)
    assert torch.allclose(before @ before.T, after @ after.T, atol=1e-7)


@pytest.mark.parametrize("whiten", [Whiten(), WhitenIterative()])
def test_near_identical_images_do_not_become_noise_targets(whiten):
    x = features(20, 50)
    x[1] = x[0] + 1e-9 * torch.randn(50)
    z = whiten(x)
    assert torch.allclose(z[0], z[1], atol=1e-4)


@BATCH_WHITENINGS
def test_identical_images_give_zeros_and_one_image_is_refused(whiten):
    assert (whiten(torch.ones(5, 8)) == 0).all()
    with pytest.raises(ValueError, match="at least 2"):
        whiten(torch.ones(1, 8))


@BATCH_WHITENINGS
def test_constant_channels_stay_zero(whiten):
    x = features(100, 20)
    x[:, 3] = 2
    z = whiten(x)
    assert (z[:, 3].abs() < 1e-9).all()
    assert torch.isfinite(z).all()


def test_iterations_whiten_the_strong_directions_and_let_the_weak_fade():
    """As its docstring says: white above 1/1,000 of the variance, no gain above 1.5^10."""
    shares = torch.tensor([0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-5, 1e-7]).double()
    gram = torch.diag(torch.cat([shares, (1 - shares.sum()).reshape(1)]))
    gains = WhitenIterative().inverse_root(gram).diagonal()[:8]
    variances = shares * gains.square()
    assert (variances[:5] - 1).abs().max() < 0.01
    assert 0.9 < variances[5] < 1.1
    assert gains.max() <= 1.5**10
    assert variances[7] < 1e-3


def test_dataset_whitening_keeps_the_leading_directions():
    """Features along three axes of unlike variance: the two strongest are kept, equally long."""
    torch.manual_seed(0)
    x = torch.randn(500, 3).double() * torch.tensor([5.0, 0.1, 2.0]).double()
    z = WhitenDataset.fit([x], rank=2)(x).double()
    for axis, strong in ((0, True), (1, False), (2, True)):
        fit = torch.linalg.lstsq(z, x[:, axis : axis + 1]).solution
        missed = (z @ fit - x[:, axis : axis + 1]).square().sum() / x[:, axis].square().sum()
        assert (missed < 0.1) == strong
    assert torch.allclose(z.T @ z / 500, torch.eye(2).double(), atol=0.05)


def test_dataset_whitening_takes_the_statistics_of_all_batches():
    x = features(500, 24).float()
    fitted = WhitenDataset.fit(x.split(64), rank=6)
    z = fitted(x)
    assert z.shape == (500, 6)
    assert torch.allclose(z.T @ z / 500, torch.eye(6), atol=1e-3)
    assert torch.allclose(z.mean(dim=0), torch.zeros(6), atol=1e-3)
    assert WhitenDataset.fit(x.split(64)).rank == 3  # dt / 8
    together = WhitenDataset.fit([x], rank=6)
    assert torch.allclose(together(x), z, atol=1e-3)


@pytest.mark.parametrize(("dim", "count"), [(1280, 1792), (640, 2560)])  # n/dt = 1.4 and 4
def test_dataset_whitening_does_not_lengthen_held_out_targets(photograph_features, dim, count):
    """The rank's purpose: with all directions, their length would tell training images."""
    train = photograph_features[:count, :dim]
    held_out = photograph_features[-400:, :dim]
    ratios = {}
    for rank in (dim // 8, dim - 10):
        fitted = WhitenDataset.fit(train.split(100), rank)
        ratios[rank] = (
            fitted(held_out).norm(dim=1).mean() / fitted(train).norm(dim=1).mean()
        ).item()
    print(f"n/dt = {count / dim}: held-out / training targets' mean norm by rank: {ratios}")
    assert WhitenDataset.fit([train]).rank == dim // 8
    assert abs(ratios[dim // 8] - 1) < 0.1
    assert ratios[dim - 10] > 1.1


def test_dataset_whitening_travels_in_the_state_dict():
    x = features(100, 16).float()
    fitted = WhitenDataset.fit([x], rank=4)
    empty = WhitenDataset(16, 4)
    empty.load_state_dict(fitted.state_dict())
    assert torch.equal(empty(x), fitted(x))


def test_a_cast_leaves_the_statistics_as_they_are():
    x = features(100, 16).float()
    fitted = WhitenDataset.fit([x], rank=4)
    before = fitted(x.bfloat16())
    fitted.bfloat16()
    assert fitted.whitener.dtype == fitted.mean.dtype == torch.float32
    assert torch.equal(fitted(x.bfloat16()), before)
    assert before.dtype == fitted(x.double()).dtype == torch.float32
    assert fitted.double()(x.double()).dtype == torch.float64


def test_more_directions_than_there_are_is_refused():
    with pytest.raises(GanVkdError, match="rank 10"):
        WhitenDataset.fit([features(100, 20, rank=5)], rank=10)


@pytest.mark.parametrize(("batch", "dim", "ridge"), [(50, 1280, 0.0), (8, 48, 0.0), (64, 20, 0.1)])
def test_products_alone_whiten_as_eigenvectors_do(batch, dim, ridge, monkeypatch):
    """What a GPU computes, in the accuracy that `Whiten` promises."""
    features = torch.randn(batch, dim, generator=torch.Generator().manual_seed(0)).double()
    features = features * torch.logspace(0, -1, dim)
    expected = Whiten(ridge)(features)
    monkeypatch.setattr(normalise, "asking_waits", lambda device: True)
    found = Whiten(ridge)(features)
    assert ((found - expected).norm() / expected.norm()).item() < 1e-5
    assert not torch.equal(found, expected)


def test_scaled_newton_schulz_is_the_recursion_of_each_eigenvalue():
    values = torch.tensor([0.05, 0.25, 0.7], dtype=torch.float64)
    y, root = values.clone(), torch.ones_like(values)
    for scale in (1.4, 1.2):
        correction = scale * (3 - scale**2 * root * y) / 2
        y, root = y * correction, correction * root
    assert torch.allclose(newton_schulz(values.diag(), (1.4, 1.2)), root.diag())


def test_scaled_newton_schulz_reaches_weak_eigenvalues_in_few_steps():
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    values = torch.tensor([1e-8, 1e-6, 1e-3, 0.1, 0.3, 0.6], dtype=torch.float64)
    values = values / values.sum()
    root = newton_schulz(basis * values @ basis.T, scales(1e-8))
    expected = basis * values.rsqrt() @ basis.T
    assert torch.allclose(root, expected, rtol=1e-5, atol=1e-3)
    assert len(scales(1e-8)) <= 18
    plain = newton_schulz(basis * values @ basis.T, (1.0,) * len(scales(1e-8)))
    assert (plain - expected).norm() > 0.1 * expected.norm()
