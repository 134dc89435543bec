"""What is drawn has the distributions it should have, and does what it says."""

import numpy as np
import pytest
import scipy.stats
import torch

from gan_vkd.classification.augment import Augmentation, _beta, _boxes, _resized


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=draws()) * 2 - 1


def test_a_crop_is_one_out_of_the_image_padded_with_black(images):
    augmentation = Augmentation("crop", False, 0, 0)
    drawn = augmentation.draw(4, 16, draws(1))
    found = augmentation.apply(images, drawn)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1)
    for b, (down, right) in enumerate(drawn["offsets"].tolist()):
        crop = padded[b, :, 2 - down : 18 - down, 2 - right : 18 - right]
        assert np.allclose(found[b].numpy(), crop, atol=1e-6)
    many = augmentation.draw(4_000, 32, draws(2))["offsets"]
    assert scipy.stats.chisquare(torch.bincount(many.flatten() + 4, minlength=9)).pvalue > 1e-3


def test_half_of_the_images_are_mirrored(images):
    augmentation = Augmentation("none", True, 0, 0)
    drawn = augmentation.draw(4, 16, draws(3))
    found = augmentation.apply(images, drawn)
    for b, mirrored in enumerate(drawn["mirrored"].tolist()):
        assert torch.equal(found[b], images[b].flip(-1) if mirrored else images[b])
    assert 0.45 < augmentation.draw(2_000, 16, draws())["mirrored"].float().mean() < 0.55


@pytest.mark.parametrize("alpha", [0.8, 1.0, 3.0])
def test_beta(alpha):
    generator = draws(5)
    found = [_beta(alpha, generator) for _ in range(2_000)]
    assert scipy.stats.kstest(found, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_keeps_a_share_of_each_image(images):
    augmentation = Augmentation("none", False, 0.8, 0)
    drawn = augmentation.draw(4, 16, draws(6))
    share = drawn["share"].item()
    found = augmentation.mix(images, drawn)
    assert torch.allclose(found, share * images + (1 - share) * images.flip(0))
    assert 0 < share < 1


def test_cutmix_pastes_a_box_and_tells_its_share(images):
    augmentation = Augmentation("none", False, 0, 1.0)
    for seed in range(6):
        drawn = augmentation.draw(4, 256, draws(seed))
        large = images.repeat(1, 1, 16, 16)
        found = augmentation.mix(large, drawn)
        kept = (found == large).all(dim=1).float().mean(dim=(1, 2))
        assert torch.allclose(kept, drawn["share"].expand(4), atol=0.01)
        assert ((found == large) | (found == large.flip(0))).all()


def test_a_batch_takes_one_of_both():
    augmentation = Augmentation("none", False, 0.8, 1.0)
    cut = [bool(augmentation.draw(2, 16, draws(s))["mixed box"].any()) for s in range(200)]
    assert 70 < sum(cut) < 130


def test_boxes_have_the_area_and_aspect_asked_for():
    boxes = _boxes(torch.rand(4, 5_000, generator=draws(7)), (0.08, 1.0), 3 / 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides.prod(dim=1)
    assert (boxes >= 0).all()
    assert (boxes <= 1 + 1e-6).all()
    uncut = (sides < 1).all(dim=1)
    aspect = sides[:, 1] / sides[:, 0]
    assert aspect[uncut].min() >= 3 / 4 - 1e-5
    assert aspect[uncut].max() <= 4 / 3 + 1e-5
    small = area[area < 0.7]  # where nothing is cut
    assert scipy.stats.kstest(small, scipy.stats.uniform(0.08, 0.62).cdf).pvalue > 1e-3


def test_a_box_is_enlarged_to_the_whole():
    ramp = torch.linspace(-1, 1, 33)[None, :].expand(33, 33)  # grows to the right
    image = torch.stack([ramp, ramp.T, ramp])[None]
    box = torch.tensor([[0.25, 0.5, 0.75, 1.0]])  # top, left, bottom, right
    found = _resized(image, box)
    # pixel centres of the box at the same density, in the ramp's values
    centres = (torch.arange(33) + 0.5) / 33
    across = ((0.5 + 0.5 * centres) * 33 - 0.5) / 32 * 2 - 1
    down = ((0.25 + 0.5 * centres) * 33 - 0.5) / 32 * 2 - 1
    inner = slice(2, -4)
    assert torch.allclose(found[0, 0, 5, inner], across[inner], atol=0.01)
    assert torch.allclose(found[0, 1, inner, 5], down[inner], atol=0.01)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert torch.allclose(_resized(image, whole), image, atol=1e-4)


def test_deits_changes_keep_shape_and_range_and_erase_a_quarter(images):
    augmentation = Augmentation("deit", True, 0, 0)
    drawn = augmentation.draw(400, 16, draws(8))
    assert 70 < drawn["erased"].any(dim=1).sum() < 130
    flat = torch.zeros(400, 3, 16, 16)
    found = augmentation.apply(flat, drawn)
    touched = (found != 0).any(dim=1)
    for b in range(400):
        area = (drawn["erased"][b, 2:] - drawn["erased"][b, :2]).prod()
        assert touched[b].float().mean() == pytest.approx(area.item(), abs=0.1)
    assert found.min() >= -1
    assert found.max() <= 1
    again = augmentation.apply(flat, augmentation.draw(400, 16, draws(8)))
    assert torch.equal(found, again)
