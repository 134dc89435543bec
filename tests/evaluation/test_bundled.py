"""Every evaluator that ships sees damage: its metrics get worse step by step."""

from itertools import pairwise, product

import pytest
import torch
import torchvision.transforms.functional as vision

from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.evaluation import compute_prdc, frechet_distance
from gan_vkd.evaluation.features import BUNDLED, bundled_names, extract, load_extractor
from gan_vkd.evaluation.frechet import moments
from gan_vkd.progress import QUIET

COUNT = 500


@pytest.fixture(scope="module")
def halves(few_of_cifar100):
    """Two disjoint draws of CIFAR-100's test images, five a class each."""
    test = load_dataset("cifar100", image_size=32, data_root=few_of_cifar100).test
    order = test.labels.argsort(stable=True).view(100, -1)
    return test.select(order[:, :5].flatten()), test.select(order[:, 5:10].flatten())


def blur(images: ImageSet, step: int) -> torch.Tensor:
    return vision.gaussian_blur(images.images, 7, 0.5 + 0.4 * step)


def noise(images: ImageSet, step: int) -> torch.Tensor:
    draws = torch.randn(images.images.shape, generator=torch.Generator().manual_seed(0))
    return (images.images + 12 * step * draws).clamp(0, 255).to(torch.uint8)


def missing_classes(images: ImageSet, step: int) -> torch.Tensor:
    """As many images, from ever fewer classes."""
    kept = images.images[images.labels < (100, 40, 15, 5)[step]]
    return kept[torch.arange(COUNT) % len(kept)]


def cutout(images: ImageSet, step: int) -> torch.Tensor:
    damaged = images.images.clone()
    side = 6 * step
    damaged[:, :, 16 - side // 2 : 16 + side // 2, 16 - side // 2 : 16 + side // 2] = 127
    return damaged


def tint(images: ImageSet, step: int) -> torch.Tensor:
    """Ever more red and less blue."""
    gain = torch.tensor([1 + 0.15 * step, 1, 1 - 0.15 * step])[:, None, None]
    return (images.images * gain).clamp(0, 255).to(torch.uint8)


FAST = [(BUNDLED, blur), (BUNDLED, missing_classes)]
CASES = list(product(bundled_names(), [blur, noise, missing_classes, cutout, tint]))


@pytest.mark.parametrize(
    ("evaluator", "damage"),
    [pytest.param(*c, marks=[] if c in FAST else pytest.mark.slow) for c in CASES],
)
def test_frechet_distance_and_recall_get_worse_step_by_step(halves, evaluator, damage):
    reference, clean = halves
    extractor = load_extractor(evaluator, None, torch.device("cpu"))
    real = extract(extractor, reference.images, "reference", QUIET).features.numpy()
    distances, recalls = [], []
    for step in range(4):
        images = clean.images if step == 0 else damage(clean, step)
        fake = extract(extractor, images, "images", QUIET).features.numpy()
        distances.append(frechet_distance(*moments(real), *moments(fake)))
        recalls.append(compute_prdc(real, fake, 5)["recall"])
    assert distances == sorted(distances), (distances, recalls)
    assert distances[3] > 1.5 * distances[0]
    # Two standard errors of a recall of 500 images: a small hole or tint does not show in it.
    assert all(after < before + 0.04 for before, after in pairwise(recalls)), recalls
    assert recalls[3] < recalls[0] - 0.05
