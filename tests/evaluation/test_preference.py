"""Whether images are nearer to training images: by definition, its interval, and two controls."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binom

from gan_vkd.evaluation import preference as module
from gan_vkd.evaluation.copies import Seen
from gan_vkd.evaluation.preference import of_counts, preference
from gan_vkd.progress import QUIET


def photographs(count: int, seed: int) -> torch.Tensor:
    """Smooth random images of 8x8 pixels, uint8, lighter on the left."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 3, 3, generator=draws)
    images = torch.nn.functional.interpolate(coarse, (8, 8), mode="bicubic")
    ramp = torch.linspace(40, -40, 8)
    return (images * 30 + 128 + ramp).clamp(0, 255).to(torch.uint8)


def noisy(images: torch.Tensor, seed: int) -> torch.Tensor:
    """The same with noise of two levels of grey, and every other one mirrored."""
    draws = torch.Generator().manual_seed(seed)
    noise = 2 * torch.randn(images.shape, generator=draws)
    changed = (images + noise).round().clamp(0, 255).to(torch.uint8)
    changed[::2] = changed[::2].flip(-1)
    return changed


def both_ways(images: torch.Tensor) -> tuple[Seen, Seen]:
    """With every other pixel for features."""
    return tuple(
        Seen(view, view.flatten(1)[:, ::2].float().numpy()) for view in (images, images.flip(-1))
    )


def found_by(judged: torch.Tensor, training: torch.Tensor, unseen: torch.Tensor) -> dict:
    sides = both_ways(training)[0], both_ways(unseen)[0]
    return preference(both_ways(judged), *sides, seed=0, device=torch.device("cpu"), reporter=QUIET)


def test_by_definition():
    judged, training, unseen = (photographs(n, s) for n, s in ((80, 0), (60, 1), (60, 2)))
    judged[:20] = noisy(training[:20], 3)
    found = found_by(judged, training, unseen)
    both = torch.cat([judged, judged.flip(-1)]).flatten(1)
    to = [cdist(both, real.flatten(1)).min(axis=1).reshape(2, -1).min(axis=0)
          for real in (training, unseen)]  # fmt: skip
    assert found["pixels"]["value"] == pytest.approx((to[0] < to[1]).mean())
    assert found["count"] == 60


def test_as_many_of_each_are_drawn():
    training, unseen = photographs(300, 1), photographs(40, 2)
    found = found_by(photographs(200, 0), training, unseen)
    assert found["count"] == 40
    assert found["features"]["low"] < 0.5 < found["features"]["high"]


def test_a_memorised_set_and_one_that_is_not():
    """Training images with noise, some mirrored, are told; fresh images are not."""
    training, unseen = photographs(200, 1), photographs(200, 2)
    memorised = found_by(noisy(training, 3), training, unseen)
    fresh = found_by(photographs(200, 4), training, unseen)
    for space in ("features", "pixels"):
        assert memorised[space]["value"] > 0.98
        assert memorised[space]["low"] is None  # no width
        assert memorised[space]["p"] <= 1 / module.LABELLINGS
        assert fresh[space]["p"] > 0.01
        assert fresh[space]["low"] < 0.5 < fresh[space]["high"]


def test_equal_distances_favour_neither_side():
    """All real images alike: ties everywhere."""
    real = photographs(1, 0).expand(50, -1, -1, -1).contiguous()
    values = [
        preference(
            both_ways(photographs(30, 1)),
            *[both_ways(real)[0]] * 2,
            seed=seed,
            device=torch.device("cpu"),
            reporter=QUIET,
        )["features"]["value"]
        for seed in range(60)
    ]
    assert 15 < sum(values) < 45  # each is 0 or 1: one image is the nearest of all


def test_the_interval_holds_and_the_test_keeps_its_level():
    """Over 100 fresh sets of all three kinds, where nothing is copied and where a third is."""
    draws = np.random.default_rng(0)
    for copied in (0, 60):
        held, values, alarms = 0, [], 0
        intervals = []
        for _ in range(100):
            judged, training, unseen = draws.normal(size=(3, 180, 4))
            judged[:copied] = training[:copied] + 0.1 * draws.normal(size=(copied, 4))
            nearest = cdist(judged, np.concatenate([training, unseen])).argmin(axis=1)
            found = of_counts(np.bincount(nearest, minlength=360), np.arange(360) < 180, draws)
            values.append(found.value)
            intervals.append((found.low, found.high))
            alarms += found.p <= 0.05
        expected = 0.5 if not copied else np.mean(values)
        held = sum(low <= expected <= high for low, high in intervals)
        print(f"{copied} copied: {expected:.3f} held {held} of 100, {alarms} alarms")
        assert 88 <= held <= 99
        assert alarms == 100 if copied else alarms <= binom.isf(1e-3, 100, 0.05)


def test_an_interval_of_few_images_ends_at_one():
    counts = np.array([90, 1, 1, 1, 4, 0, 0, 0])
    found = of_counts(counts, np.arange(8) < 4, np.random.default_rng(0))
    assert found.value == 93 / 97
    assert 0.8 < found.low < found.value
    assert found.high == 1.0
