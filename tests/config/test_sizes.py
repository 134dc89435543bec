from itertools import pairwise

import pytest
import torch

from gan_vkd.config.layers import preset_layer, resolve
from gan_vkd.config.sizes import SIZES, discriminator_sides, generator_sides, widths
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import TrainingData
from gan_vkd.gan.task import GanTask


def test_every_size_is_doubled_from_a_small_map_and_halved_to_one():
    assert list(SIZES) == [16 * i for i in range(1, 17)]
    for size in SIZES:
        sides = generator_sides(size)
        assert sides[-1] == size
        assert 4 <= sides[0] <= 15
        assert all(2 * before == after for before, after in pairwise(sides))
        *halved, last, again = discriminator_sides(size)
        assert 8 <= last <= 15
        assert last == again
        assert [2 * after for after in [*halved[1:], last]] == halved
    assert generator_sides(48) == [6, 12, 24, 48]
    assert generator_sides(144) == [9, 18, 36, 72, 144]
    assert discriminator_sides(48) == [48, 24, 12, 12]


def test_sizes_of_before_keep_their_widths():
    for size, blocks in ((16, 3), (32, 4), (64, 5)):
        for sides in (generator_sides(size), discriminator_sides(size)):
            assert widths(sides) == (4,) * blocks
    recipe = resolve([("lab", preset_layer("lab"))])
    assert recipe.gan.generator_widths == (4, 4, 2, 1)
    assert recipe.gan.discriminator_widths == (1, 2, 4, 4)


def test_maps_are_thin_where_a_pixel_is_dear():
    assert widths(generator_sides(256)) == (4, 4, 4, 4, 4, 2, 1)
    assert widths(discriminator_sides(256)) == (1, 2, 4, 4, 4, 4, 4)
    assert widths(generator_sides(128), "narrow") == (4, 4, 2, 1, 1, 1)


@pytest.mark.parametrize("preset", ["cifar", "lab"])
@pytest.mark.parametrize("size", [48, 96, 128, 256])
def test_an_iteration_at_any_size(preset, size):
    small = {
        "data": {"image_size": size, "augment": "color,translation,cutout"},
        "gan": {"channels": 1, "z_dim": 4},
        "training": {"batch_size": 2, "d_steps": 1, "precision": "fp32"},
    }
    recipe = resolve([(preset, preset_layer(preset)), ("small", small)])
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    data = TrainingData(ImageSet(images, torch.tensor([0, 1, 0, 1]), ("a", "b")), None, "none")
    task = GanTask(recipe, data, None, torch.device("cpu"))
    found = task.iterate(0, measure=True)
    assert all(torch.tensor(value).isfinite() for value in found.values())
    drawn = task.generator(torch.randn(1, 4), torch.tensor([1]))
    assert drawn.shape == (1, 3, size, size)
