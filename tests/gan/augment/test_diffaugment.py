import pytest
import torch

from gan_vkd.config.registry import AUGMENTATIONS
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.randomness import generator


def images(count: int = 64, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=generator("images")) * 2 - 1


def augmented(x: torch.Tensor, *policies: str, seed: int = 0) -> torch.Tensor:
    augment = Augmentation(policies)
    return augment(x, augment.draw((len(x),), x.shape[-1], generator(seed)))


@pytest.mark.parametrize("policy", list(AUGMENTATIONS))
def test_gradients_are_exact(policy):
    x = images(2, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augmented(x, policy), x)


def test_no_policy_changes_nothing():
    assert torch.equal(augmented(images()), images())


@pytest.mark.parametrize("policy", list(AUGMENTATIONS))
def test_draws_of_several_steps_are_as_many_and_unlike_each_other(policy):
    draws = Augmentation([policy]).draw((3, 50), 32, generator(0))[policy]
    assert draws.shape[:2] == (3, 50)
    assert not torch.equal(draws[0], draws[1])


def test_translation_moves_by_the_draws_and_fills_with_zero():
    x = images(4)
    draws = torch.tensor([[0, 0], [3, 0], [0, -2], [-4, 4]])
    y = Augmentation(["translation"])(x, {"translation": draws})
    for before, after, (down, right) in zip(x, y, draws.tolist(), strict=True):
        for i in range(32):
            for j in range(32):
                inside = 0 <= i - down < 32 and 0 <= j - right < 32
                expected = before[:, i - down, j - right] if inside else torch.zeros(3)
                assert torch.equal(after[:, i, j], expected)


def test_translation_draws_every_shift_up_to_an_eighth_as_often():
    draws = Augmentation(["translation"]).draw((20_000,), 32, generator(0))["translation"]
    for axis in draws.unbind(1):
        counts = torch.bincount(axis + 4, minlength=9)
        assert len(counts) == 9
        assert counts.min() > 0.9 * 20_000 / 9
        assert counts.max() < 1.1 * 20_000 / 9
    assert (draws[:, 0] != draws[:, 1]).any()


def test_cutout_removes_a_square_of_half_the_side():
    y = augmented(torch.ones(500, 3, 32, 32), "cutout")
    holes = (y == 0).all(dim=1)
    heights, widths = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(holes.sum(dim=(1, 2)), heights * widths)  # rectangles
    assert heights.max() == widths.max() == 16
    assert heights.min() >= 8  # the centre is always inside
    assert ((y == 0) | (y == 1)).all()


@pytest.mark.parametrize(("size", "centres"), [(32, range(33)), (16, range(17)), (12, range(13))])
def test_cutout_lies_around_its_centre(size, centres):
    for centre in centres:
        draws = torch.tensor([[centre, 5]])
        y = Augmentation(["cutout"])(torch.ones(1, 3, size, size), {"cutout": draws})
        rows = [i for i in range(size) if (y[0, 0, i] == 0).any()]
        half = size // 4
        assert rows == [i for i in range(centre - half, centre + half) if 0 <= i < size]
    drawn = Augmentation(["cutout"]).draw((2_000,), size, generator(0))["cutout"]
    assert set(drawn.flatten().tolist()) == set(centres)


def test_color_is_brightness_then_saturation_then_contrast():
    x = images(2)
    draws = torch.tensor([[0.9, 0.3, 0.8], [0.2, 1.0, 0.1]])
    y = Augmentation(["color"])(x, {"color": draws})
    for before, after, (b, s, c) in zip(x, y, draws.tolist(), strict=True):
        bright = before + (b - 0.5)
        grey = bright.mean(dim=0)
        coloured = grey + 2 * s * (bright - grey)
        expected = coloured.mean() + (c + 0.5) * (coloured - coloured.mean())
        assert torch.allclose(after, expected, atol=1e-6)


def test_policies_apply_in_their_order():
    x = images()
    there, back = augmented(x, "color", "cutout"), augmented(x, "cutout", "color")
    assert (there == 0).any()  # the hole comes last
    assert not (back == 0).all(dim=1).any()


def test_draws_depend_on_the_generator_alone():
    first, second, other = (augmented(images(), *AUGMENTATIONS, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
