import pytest
import torch

from gan_vkd.config import AUGMENTATIONS
from gan_vkd.data.augment import diff_augment
from gan_vkd.randomness import generator


def images(count: int = 64, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=generator("images")) * 2 - 1


@pytest.mark.parametrize("policy", AUGMENTATIONS)
def test_gradients_are_exact(policy):
    x = images(2, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, (policy,), generator(0)), x)


def test_no_policy_changes_nothing():
    assert torch.equal(diff_augment(images(), (), generator(0)), images())


def test_translation_shifts_by_up_to_an_eighth_and_fills_with_zero():
    x = images()
    y = diff_augment(x, ("translation",), generator(0))
    shifts = set()
    for before, after in zip(x, y, strict=True):
        found = None
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                expected = torch.zeros_like(before)
                target = expected[:, max(0, -dy) : 32 - max(0, dy), max(0, -dx) : 32 - max(0, dx)]
                source = before[:, max(0, dy) : 32 + min(0, dy), max(0, dx) : 32 + min(0, dx)]
                target.copy_(source)
                if torch.equal(expected, after):
                    found = (dy, dx)
        assert found is not None
        shifts.add(found)
    assert len(shifts) > 30
    assert {dy for dy, _ in shifts} == set(range(-4, 5))


def test_cutout_removes_a_square_of_half_the_side():
    y = diff_augment(torch.ones(500, 3, 32, 32), ("cutout",), generator(0))
    holes = (y == 0).all(dim=1)
    heights, widths = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(holes.sum(dim=(1, 2)), heights * widths)  # rectangles
    assert heights.max() == widths.max() == 16
    assert heights.min() >= 8  # the centre is always inside
    assert ((y == 0) | (y == 1)).all()


def test_color_keeps_shape_and_moves_brightness_within_a_half():
    x = images()
    y = diff_augment(x, ("color",), generator(0))
    moved = (y - x).mean(dim=(1, 2, 3))
    assert moved.abs().max() <= 0.5 + 1e-5
    assert moved.std() > 0.2


def test_draws_depend_on_the_generator_alone():
    first, second, other = (diff_augment(images(), AUGMENTATIONS, generator(s)) for s in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
