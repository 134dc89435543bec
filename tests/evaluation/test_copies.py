import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gan_vkd.evaluation.content import digests
from gan_vkd.evaluation.copies import NEIGHBOURS, Seen, close_limit, copies_of_training
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")


def noise(count: int, seed: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=draws)


def both_ways(images: torch.Tensor) -> tuple[Seen, Seen]:
    """With pixels for features."""
    return tuple(Seen(view, view.flatten(1).float().numpy()) for view in (images, images.flip(-1)))


def found_by(judged: torch.Tensor, training: torch.Tensor, held_out: torch.Tensor | None) -> dict:
    return copies_of_training(
        both_ways(judged),
        both_ways(training)[0],
        None if held_out is None else both_ways(held_out),
        device=CPU,
        reporter=QUIET,
    )


def test_pixels_are_compared_where_they_are():
    images = noise(9, 0)
    assert np.shares_memory(both_ways(images)[0].points("pixels"), images.numpy())


def test_digests_are_equal_where_images_are():
    images = noise(50, 0)
    images[7] = images[3]
    images[8, 0, 0, 0] ^= 1
    same = [[one == other for other in digests(images.clone())] for one in digests(images)]
    assert (np.array(same) == (cdist(*[images.flatten(1)] * 2) == 0)).all()
    assert digests(images.flip(-1).flip(-1)) == digests(images)


def test_nearness_by_definition():
    """Against the training images and their mirror images, all distances written out."""
    judged, training, held_out = noise(40, 0), noise(80, 1), noise(60, 2)
    judged[:3] = training[:3]
    judged[3:5] = training[3:5].flip(-1)
    found = found_by(judged, training, held_out)

    def nearness(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        both = torch.cat([training, training.flip(-1)]).flatten(1).double()
        distances = cdist(images.flatten(1).double(), both)
        scale = np.sort(distances, axis=1)[:, :NEIGHBOURS].mean(axis=1)
        nearest = distances.argmin(axis=1)
        return distances.min(axis=1), distances.min(axis=1) / scale, nearest

    distances, relative, nearest = nearness(judged)
    other, yardstick, _ = nearness(held_out)
    limit = np.sort(yardstick)[0]  # one of sixty
    mirrored = nearest >= len(training)
    for space in ("features", "pixels"):
        of = found[space]
        assert of["median"] == pytest.approx(
            {"judged": np.median(distances), "held_out": np.median(other)}
        )
        assert of["close"] == {"judged": (relative <= limit).sum(), "held_out": 1}
        assert of["mirrored"]["judged"] == ((relative <= limit) & mirrored).sum()
        order = np.argsort(relative, kind="stable")[:10]
        assert [pair["image"] for pair in of["closest"]] == order.tolist()
        assert [pair["training"] for pair in of["closest"]] == (nearest[order] % 80).tolist()
        assert [pair["mirrored"] for pair in of["closest"]] == mirrored[order].tolist()
    assert found["identical"] == {
        "judged": 5,
        "held_out": 0,
        "mirrored": {"judged": 2, "held_out": 0},
    }


def test_without_held_out_images_nothing_is_close():
    found = found_by(noise(10, 0), noise(60, 1), None)
    assert found["identical"]["held_out"] is None
    assert found["pixels"]["close"] == {"judged": None, "held_out": None}
    assert len(found["pixels"]["closest"]) == 10


@pytest.mark.parametrize(("count", "within"), [(50, 1), (100, 1), (101, 2), (700, 7), (1000, 10)])
def test_one_in_a_hundred_is_close(count, within):
    values = np.random.default_rng(0).permutation(count).astype(float)
    assert (values <= close_limit(values)).sum() == within
