import pytest
import torch

from gan_vkd.distill.normalise import LayerNorm, Whiten, WhitenDataset
from gan_vkd.errors import GanVkdError


def features(batch: int, dim: int, rank: int | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    mixing = torch.randn(rank or dim, dim, dtype=torch.float64)
    return torch.randn(batch, rank or dim, dtype=torch.float64) @ mixing + 5


def test_layer_norm_rows():
    z = LayerNorm()(features(7, 30))
    assert torch.allclose(z.mean(dim=1), torch.zeros(7).double(), atol=1e-6)
    assert torch.allclose(z.square().mean(dim=1), torch.ones(7).double(), atol=1e-4)


def test_more_images_than_channels_decorrelates_channels():
    z = Whiten()(features(100, 20))
    assert torch.allclose(z.T @ z / 100, torch.eye(20).double(), atol=1e-8)
    assert torch.allclose(z.mean(dim=0), torch.zeros(20).double(), atol=1e-10)


@pytest.mark.parametrize("batch", [20, 45])
def test_fewer_images_than_channels_makes_a_simplex(batch):
    z = Whiten()(features(batch, 50))
    lengths = z.norm(dim=1)
    assert torch.allclose(lengths, lengths.mean().expand(batch), rtol=1e-8)
    cosines = (z @ z.T) / lengths.square().mean()
    off_diagonal = cosines[~torch.eye(batch).bool()]
    expected = torch.full_like(off_diagonal, -1 / (batch - 1))
    assert torch.allclose(off_diagonal, expected, atol=1e-8)
    assert torch.allclose(z.mean(dim=0), torch.zeros(50).double(), atol=1e-10)


@pytest.mark.parametrize(("batch", "dim", "rank"), [(30, 40, 7), (60, 20, 7), (30, 40, None)])
def test_mean_squared_entry_is_one_at_any_rank(batch, dim, rank):
    z = Whiten()(features(batch, dim, rank))
    assert torch.allclose(z.square().mean(), torch.ones(()).double())


def test_both_sides_agree_with_the_singular_value_decomposition():
    for batch, dim in ((30, 40), (40, 30)):
        x = features(batch, dim)
        u, s, v = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
        kept = s.square() > 1e-6 * s.square().mean()
        polar = u[:, kept] @ v[kept]
        scale = (batch * dim / kept.sum()).sqrt()
        assert torch.allclose(Whiten()(x), polar * scale, atol=1e-7)


def test_shift_and_scale_of_the_features_do_not_matter():
    x = features(40, 30)
    assert torch.allclose(Whiten()(3 * x - 7), Whiten()(x), atol=1e-7)


def test_near_identical_images_do_not_become_noise_targets():
    x = features(20, 50)
    x[1] = x[0] + 1e-9 * torch.randn(50)
    z = Whiten()(x)
    assert torch.allclose(z[0], z[1], atol=1e-4)


def test_identical_images_give_zeros_and_one_image_is_refused():
    assert (Whiten()(torch.ones(5, 8)) == 0).all()
    with pytest.raises(ValueError, match="at least 2"):
        Whiten()(torch.ones(1, 8))


def test_constant_channels_stay_zero():
    x = features(100, 20)
    x[:, 3] = 2
    z = Whiten()(x)
    assert (z[:, 3].abs() < 1e-9).all()
    assert torch.isfinite(z).all()


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


def test_dataset_whitening_does_not_lengthen_held_out_targets():
    """The rank's purpose: at full rank a model could tell training images by their length."""
    torch.manual_seed(0)
    spectrum = torch.arange(1, 129).float().pow(-1)
    train, held_out = torch.randn(512, 128) * spectrum, torch.randn(512, 128) * spectrum
    ratios = {}
    for rank in (16, 128):
        fitted = WhitenDataset.fit([train], rank)
        ratios[rank] = (fitted(held_out).square().sum() / fitted(train).square().sum()).item()
    assert abs(ratios[16] - 1) < 0.1
    assert ratios[128] > 1.25


def test_dataset_whitening_travels_in_the_state_dict():
    x = features(100, 16).float()
    fitted = WhitenDataset.fit([x], rank=4)
    empty = WhitenDataset(16, 4)
    empty.load_state_dict(fitted.state_dict())
    assert torch.equal(empty(x), fitted(x))


def test_more_directions_than_there_are_is_refused():
    with pytest.raises(GanVkdError, match="rank 10"):
        WhitenDataset.fit([features(100, 20, rank=5)], rank=10)
