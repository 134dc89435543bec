"""ADA's pipeline against transforms written plainly, and its filters against their definition."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from gan_vkd.gan.augment.ada import GATES, NORMAL, UNIFORM, Ada
from gan_vkd.gan.augment.warp import SYM6, filters, warp
from gan_vkd.randomness import generator

NAMES = (*(f"{name}?" for name in GATES), *UNIFORM, *NORMAL)


def draws(**chosen) -> torch.Tensor:
    """One image's numbers [1, 28]: gates closed, but for those that are named with 0."""
    numbers = {name: 2.0 if name.endswith("?") else 0.0 for name in NAMES}
    for name, value in chosen.items():
        numbers[name.replace("_", " ")] = value
        numbers[f"{name.split('_')[0] if name[:8] == 'fraction' else name.replace('_', ' ')}?"] = 0
    return torch.tensor([[numbers[name] for name in NAMES]])


def smooth(side: int = 16) -> torch.Tensor:
    """An image [1, 3, side, side] without detail, which filters leave nearly alone."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side, dtype=torch.float64)] * 2, indexing="ij")
    return torch.stack([x + 0.3 * y, (x * y), 0.5 * y - 0.2 * x * x])[None]


def inside(images: torch.Tensor, border: int = 4) -> torch.Tensor:
    return images[..., border:-border, border:-border]


def test_sym6_is_the_symlet_with_six_vanishing_moments():
    taps = np.array(SYM6)
    for lag in range(6):
        product = (taps[2 * lag :] * taps[: len(taps) - 2 * lag]).sum()
        assert product == pytest.approx(float(lag == 0), abs=1e-9)
    wavelet = taps[::-1] * (-1.0) ** np.arange(12)
    for moment in range(6):
        assert (wavelet * np.arange(12.0) ** moment).sum() == pytest.approx(0, abs=1e-5)


def test_the_filters_are_zeros_between_pixels_then_a_convolution_over_reflected_edges():
    side, taps = 8, np.array(SYM6) / np.sum(SYM6)
    x = np.random.default_rng(0).normal(size=side)
    up, down = (m.numpy() for m in filters(side))
    spread = np.zeros(2 * (3 * side - 2))
    spread[::2] = np.pad(x, side - 1, mode="reflect")
    expected = 2 * np.convolve(np.pad(spread, (6, 5)), taps, mode="valid")
    assert np.allclose(up @ x, expected)
    wide = np.random.default_rng(1).normal(size=2 * (side + 6))
    assert np.allclose(down @ wide, np.correlate(wide[1:-1], taps, mode="valid")[::2])


def test_nothing_happens_where_all_gates_are_closed():
    x = smooth()
    assert torch.allclose(Ada().apply(x, draws()), x, atol=0.02)
    exact = torch.full((1, 3, 16, 16), 0.3)
    assert torch.allclose(Ada().apply(exact, draws()), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"flip": 0.9}, lambda x: x.flip(-1)),
        ({"flip": 0.4}, lambda x: x),
        ({"quarter": 0.3}, lambda x: x.rot90(1, (-2, -1))),
        ({"quarter": 0.6}, lambda x: x.flip(-1, -2)),
        ({"quarter": 0.9}, lambda x: x.rot90(-1, (-2, -1))),
    ],
)
def test_flips_and_quarter_turns(chosen, expected):
    x = smooth()
    assert torch.allclose(Ada().apply(x, draws(**chosen)), expected(x), atol=0.03)


def test_whole_shifts_show_reflections_at_the_edge():
    numbers = draws()
    for name, value in (("shift?", 0.0), ("right", 1.0), ("down", 0.25)):
        numbers[0, NAMES.index(name)] = value  # 2 to the right, 1 up
    x = smooth()
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    assert torch.allclose(Ada().apply(x, numbers), wide[..., 3:19, 0:16], atol=0.06)
    near = numbers.clone()
    near[0, NAMES.index("right")] = 0.9  # 1.6 of a pixel
    assert torch.equal(Ada().apply(x, near), Ada().apply(x, numbers))


@pytest.mark.parametrize(
    ("names", "matrix"),
    [
        ({"scale": 1.5}, lambda: np.eye(2) * 2**0.3),
        ({"aspect": -1.0}, lambda: np.diag([2**-0.2, 2**0.2])),
        ({"turn": 0.6}, lambda: turn(0.2 * math.pi)),
        ({"second_turn": 0.45}, lambda: turn(-0.1 * math.pi)),
    ],
)
def test_scales_and_turns_are_scipys(names, matrix):
    """Where the image moves to, x to the right and y downwards; scipy takes rows first."""
    x = smooth()
    back = np.linalg.inv(matrix())[::-1, ::-1]
    centre = np.array([7.5, 7.5])
    for channel, plane in zip(Ada().apply(x, draws(**names))[0], x[0], strict=True):
        expected = affine_transform(plane.numpy(), back, centre - back @ centre, order=3)
        assert np.allclose(inside(channel), inside(torch.from_numpy(expected)), atol=0.03)


def turn(angle: float) -> np.ndarray:
    """Counterclockwise where y points up."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def test_fractional_shifts():
    x = smooth(32)
    moved = Ada().apply(x, draws(fraction_right=0.7, fraction_down=-0.5))
    expected = [
        affine_transform(plane.numpy(), np.eye(2), (0.5 * 4, -0.7 * 4), order=3) for plane in x[0]
    ]
    assert np.allclose(inside(moved[0], 6), inside(torch.tensor(np.stack(expected)), 6), atol=0.02)


def test_colours_by_hand():
    x = torch.tensor([0.2, -0.4, 0.7], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    pixel, grey = x[0, :, 0, 0], x.mean() * torch.ones(3, dtype=torch.float64)

    def shown(**chosen):
        return Ada().apply(x, draws(**chosen))[0, :, 8, 8]

    def near(ours, expected):
        return torch.allclose(ours, expected, atol=1e-6)

    assert near(shown(brightness=1.5), pixel + 0.3)
    assert near(shown(contrast=-1.0), pixel * 2**-0.5)
    assert near(shown(luma_flip=0.7), pixel - 2 * grey)
    assert near(shown(luma_flip=0.2), pixel)
    assert near(shown(saturation=0.5), grey + 2**0.5 * (pixel - grey))
    assert near(shown(hue=0.5 + 1 / 3), pixel[[2, 0, 1]])  # a third of a circle: R → G → B → R
    assert near(
        shown(brightness=1.0, contrast=1.0, saturation=1.0),
        (grey + 0.2) * 2**0.5 + 2 * (pixel - grey) * 2**0.5,
    )
    dim = Ada().apply(x[:, :1], draws(brightness=1.0, contrast=1.0, hue=0.9))
    assert near(dim[0, 0, 8, 8], (pixel[0] + 0.2) * 2**0.5)


def test_each_happens_as_often_as_p_says():
    ada, numbers = Ada(), Ada.draw((20_000,), 16, generator("ada"))
    ada.controller = type("Fixed", (), {"p": torch.tensor(0.3)})()
    bright = torch.zeros(20_000, 1, 2, 2)
    moved = ada.apply(bright, numbers)[:, 0, 0, 0] != 0  # by brightness alone, or luma flip of it
    assert moved.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert numbers[:, :21].min() >= 0
    assert numbers[:, :21].max() <= 1
    assert numbers[:, 21:].std(dim=0).sub(1).abs().max() < 0.03


def test_either_turn_happens_as_often_as_p_says():
    ada, numbers = Ada(), draws().repeat(4_000, 1)
    for gate in ("turn?", "second turn?", "turn", "second turn"):
        column = torch.rand(4_000, generator=generator("ada", gate))
        numbers[:, NAMES.index(gate)] = column
    ada.controller = type("Fixed", (), {"p": torch.tensor(0.3)})()
    x = smooth(4).float().expand(4_000, 3, 4, 4)
    still = ada.apply(x[:1], draws().float())
    turned = (ada.apply(x, numbers) - still).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert turned.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_a_second_derivative_goes_through_the_warp():
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    move = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    move[:, 0, 1], move[:, 1, 2] = 0.3, 1.7
    assert torch.autograd.gradgradcheck(lambda x: warp(x, move).pow(3), x)
