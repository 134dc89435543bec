"""Traces of augmentation: found in samples made on purpose, not in photographs."""

from itertools import product

import numpy as np
import pytest
import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.findings import LEVEL, _leaks, untested
from gan_vkd.evaluation.leaks import has_border, has_hole, leaks
from gan_vkd.evaluation.tones import recoloured, tones

COUNT = 1_000


def hole_by_hand(image: np.ndarray) -> bool:
    """Every window, every pair of sides, pixel by pixel; image int [C, S, S]."""
    size, side = image.shape[-1], image.shape[-1] // 4

    def edge(cells):
        return np.mean([np.abs(image[:, a, b] - image[:, c, d]).max() > 24 for a, b, c, d in cells])

    for y, x in product(range(size - side + 1), repeat=2):
        window = image[:, y : y + side, x : x + side]
        if (window.max(axis=(1, 2)) - window.min(axis=(1, 2)) > 16).any():
            continue
        along = range(side)
        vertical = [(y, y - 1), (y + side - 1, y + side)]
        horizontal = [(x, x - 1), (x + side - 1, x + side)]
        rows = [[(r, x + i, o, x + i) for i in along] for r, o in vertical if 0 <= o < size]
        columns = [[(y + i, c, y + i, o) for i in along] for c, o in horizontal if 0 <= o < size]
        if any(edge(c) >= 0.75 for c in rows) and any(edge(c) >= 0.75 for c in columns):
            return True
    return False


def border_by_hand(image: np.ndarray) -> bool:
    for turned in (np.rot90(image, k, axes=(1, 2)) for k in range(4)):
        for width in range(1, image.shape[-1] // 4 + 1):
            band = turned[:, :width].reshape(len(image), -1)
            steps = np.abs(turned[:, width] - turned[:, width - 1]).max(axis=0) > 24
            if (np.ptp(band, axis=1) <= 16).all() and steps.mean() >= 0.75:
                return True
    return False


def test_holes_and_borders_are_those_found_pixel_by_pixel():
    draws = np.random.default_rng(0)
    images = []
    for number in range(120):  # patches and bands of one colour, or nearly, on noise
        image = draws.integers(0, draws.choice([60, 256]), (3, 16, 16))
        top, left = draws.integers(-2, 14, 2)
        patch = (slice(max(top, 0), top + draws.integers(3, 10)), slice(max(left, 0), left + 6))
        if number % 3 == 0:
            patch = (slice(0, draws.integers(1, 6)), slice(None))
        shape = image[:, *patch].shape
        near = draws.integers(0, draws.choice([1, 17, 18, 30]), shape)
        image[:, *patch] = draws.integers(0, 220, (3, 1, 1)) + near
        images.append(np.rot90(image, number % 4, axes=(1, 2)))
    for found, by_hand in ((has_hole, hole_by_hand), (has_border, border_by_hand)):
        expected = [by_hand(image) for image in images]
        assert 12 <= sum(expected) <= 108
        assert found(torch.from_numpy(np.stack(images)).to(torch.uint8)).tolist() == expected


def test_changes_of_colour_are_those_of_the_formulas():
    x = torch.randint(256, (400, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    changed = recoloured(x.to(torch.uint8), 3, "a test").double()
    inside = (changed > 0).all(dim=1) & (changed < 255).all(dim=1)  # not cut, [N, 4, 4]
    before, after = x.double().permute(0, 2, 3, 1), changed.permute(0, 2, 3, 1)
    kinds = {"brightness": 0, "saturation": 0, "hue": 0}
    for a, b, kept in zip(before, after, inside, strict=True):
        a, b = a[kept], b[kept]
        if len(a) < 5:
            continue
        shift = (b - a)[0, 0]
        kinds["brightness"] += bool(((b - a - shift).abs() <= 1).all() and abs(shift) > 2)
        same_grey = ((b.mean(1) - a.mean(1)).abs() <= 1).all()
        radius = (
            (a - a.mean(1, keepdim=True)).norm(dim=1),
            (b - b.mean(1, keepdim=True)).norm(dim=1),
        )
        same_chroma = ((radius[0] - radius[1]).abs() <= 2).all()
        kinds["hue"] += bool(same_grey and same_chroma and (a - b).abs().max() > 5)
        kinds["saturation"] += bool(same_grey and not same_chroma)
    assert all(30 < count < 120 for count in kinds.values()), kinds


@pytest.fixture(scope="module")
def photographs(cifar100) -> dict[str, torch.Tensor]:
    """2,000 training and 1,000 test photographs, of 40 classes."""
    names = list(cifar100("test"))[:40]
    drawn = {
        side: np.concatenate([cifar100(split)[name][:count] for name in names])
        for side, split, count in (("real", "train", 50), ("judged", "test", 25))
    }
    return {side: torch.from_numpy(x).permute(0, 3, 1, 2) for side, x in drawn.items()}


def images(pixels: torch.Tensor) -> ImageSet:
    return ImageSet(pixels.contiguous(), torch.zeros(len(pixels), dtype=torch.long), ("a",))


def said(photographs, change, share: float) -> list[str]:
    """Findings where the first images are changed; change: uint8 images → changed ones."""
    judged, count = photographs["judged"].clone(), int(share * COUNT)
    judged[:count] = change(judged[:count])
    return _leaks(leaks(images(judged), images(photographs["real"]), 0))


def cut_out(x: torch.Tensor) -> torch.Tensor:
    x, draws = x.clone(), np.random.default_rng(1)
    for image in x:
        top, left = draws.integers(-8, 24, 2)
        image[:, max(top, 0) : top + 16, max(left, 0) : left + 16] = 127
    return x


def shifted(x: torch.Tensor) -> torch.Tensor:
    x = x.roll(3, dims=-1)
    x[..., :3] = 0
    return x


def test_photographs_leak_nothing(photographs):
    assert said(photographs, lambda x: x, 0.0) == []


@pytest.mark.parametrize(
    ("change", "share", "words"),
    [
        (cut_out, 0.05, "have a sharp-cornered patch of one colour, as cutout leaves it"),
        (shifted, 0.05, "have a border of one colour, as translation leaves it"),
        (lambda x: recoloured(x, 1, "leak"), 0.15, "have colours as after a change of brightness"),
    ],
)
def test_a_leak_is_named(photographs, change, share, words):
    (sentence,) = said(photographs, change, share)
    assert sentence.startswith("Augmentation leaks")
    assert words in sentence


def test_a_twentieth_of_both_sides_together_looks_most_changed(photographs):
    """A limit taken from one side alone would leave nothing to chance there."""
    judged = photographs["judged"].clone()
    judged[:300] = recoloured(judged[:300], 1, "leak")
    found = leaks(images(judged), images(photographs["real"]), 0)["colours"]
    assert found["count"] == {"judged": COUNT, "real": COUNT}
    assert found["judged"] > 2 * found["real"]
    assert found["judged"] + found["real"] == pytest.approx(0.05 * 2 * COUNT, abs=2)


def counts(judged: int, real: int, of: int) -> dict:
    side = {"judged": 0, "real": 0}
    holes = {"judged": judged, "real": real}
    return {"count": {"judged": of, "real": of}, "holes": holes, "borders": side, "colours": None}


def test_few_more_are_chance_and_few_of_many_are_no_leak():
    assert _leaks(counts(9, 0, 300)) == []  # p = .0019
    (sentence,) = _leaks(counts(12, 0, 300))
    assert "4.0% of the images have" in sentence
    assert "(0.0% of the real ones do)" in sentence
    assert _leaks(counts(90, 0, 10_000)) == []  # certain, but less than 1 %
    assert LEVEL == 0.001


def test_photographs_drawn_from_one_set_are_accused_as_seldom_as_said(photographs):
    """Of 3,000 ways to share 500 photographs with traces among two sides, and 5,500 without."""
    draws = np.random.default_rng(0)
    judged = draws.hypergeometric(500, 5_500, 3_000, 3_000)
    alarms = sum(bool(_leaks(counts(int(k), int(500 - k), 3_000))) for k in judged)
    assert alarms <= 9  # .001 of 3,000 and three deviations


def test_what_takes_more_images_is_said_to_be_untested(photographs):
    few = leaks(images(photographs["judged"][:100]), images(photographs["real"][:200]), 0)
    assert few["colours"] is None
    base = {"classes": [], "duplicates": {}, "copies": {}}
    base["protocol"] = {"judged_count": 200, "unseen_count": 1}
    assert any("colours leaks into images" in part for part in untested(base | {"leaks": few}))
    assert any("statistics hold no images" in part for part in untested(base | {"leaks": None}))


def test_tones_do_not_depend_on_places(photographs):
    x = photographs["judged"][:20]
    places = torch.randperm(1024, generator=torch.Generator().manual_seed(0))
    moved = x.flatten(2)[..., places].view_as(x)
    assert np.allclose(tones(x), tones(moved), rtol=1e-3, atol=1e-2)
