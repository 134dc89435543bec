"""A GAN that learns: coloured shapes, the class being the shape."""

import pytest
import torch

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.images import ImageSet, to_uint8
from gan_vkd.data.subsets import TrainingData
from gan_vkd.engine.players import Player
from gan_vkd.evaluation import compute_prdc
from gan_vkd.gan import task as task_module
from gan_vkd.gan.losses.hinge import HingeLoss
from gan_vkd.gan.networks.biggan import Discriminator
from gan_vkd.gan.task import GanTask
from gan_vkd.randomness import generator

CPU = torch.device("cpu")
NAMES = ("square", "cross", "frame", "bars")
EACH = 250
ITERATIONS = 500


def coloured_shapes() -> ImageSet:
    """1,000 images of 16 x 16: a shape as large as the image, in a random colour on mid-grey."""
    shape = torch.zeros(4, 8, 8)
    shape[0] = 1
    shape[1, 3:5], shape[1, :, 3:5] = 1, 1
    shape[2], shape[2, 2:6, 2:6] = 1, 0
    shape[3, ::4], shape[3, 1::4] = 1, 1
    shape = shape.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    draws = generator("shapes")
    labels = torch.arange(4).repeat(EACH)
    colours = [torch.rand(3, 1, 1, generator=draws) * 2 - 1 for _ in labels]
    images = torch.stack(colours) * shape[labels, None]
    return ImageSet(to_uint8(images), labels, NAMES)


def features(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, 3, 16, 16] → [N, 48], a quarter of the side."""
    return torch.nn.functional.avg_pool2d(images.float() / 255, 4).flatten(1)


def contrast(images: torch.Tensor) -> torch.Tensor:
    """[N, 256]: how far each pixel is from grey, whatever the colour, of norm 1."""
    away = (images.float() - 127.5).abs().mean(dim=1)
    return torch.nn.functional.normalize(away.flatten(1), dim=1)


def judge(task: GanTask, data: ImageSet) -> tuple[float, float]:
    """Class fidelity (nearest real image by shape) and coverage of the real images."""
    exported = task.exported(ITERATIONS)
    samples, labels = exported.sample(1_000), exported.labels(1_000)
    nearest = (contrast(samples) @ contrast(data.images).T).argmax(dim=1)
    fidelity = (data.labels[nearest] == labels).float().mean().item()
    found = compute_prdc(features(data.images).numpy(), features(samples).numpy(), nearest_k=5)
    return fidelity, found["coverage"]


def learn(iterations: int, seed: int = 0) -> tuple[float, float]:
    data = coloured_shapes()
    sets = ("data.augment=none", "training.ema_start=50", "training.ema_decay=0.97")
    sets += ("training.d_lr=2e-3", "training.g_lr=1e-3", "terms.mode-seeking=false")
    sets += ("training.precision=fp32", f"training.iterations={iterations}")
    sets += (f"training.seed={seed}",)
    recipe = resolve([("preset", preset_layer("tiny")), ("toy", set_layer(sets))])
    task = GanTask(recipe, TrainingData(data, None, "none"), None, CPU)
    for iteration in range(iterations):
        task.iterate(iteration)
    return judge(task, data)


def passes(figures: tuple[float, float]) -> bool:
    fidelity, coverage = figures
    return fidelity > 0.8 and coverage > 0.05


def test_a_gan_learns_shapes_and_colours():
    """Two halves of the real images give fidelity 1 and coverage .98."""
    assert passes(learn(400))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_it_learns_whatever_the_seed(seed):
    assert passes(learn(ITERATIONS, seed))


def swap_real_and_generated(patch):
    original = HingeLoss.discriminator
    patch.setattr(HingeLoss, "discriminator", lambda self, a, b: original(self, b, a))


def let_g_ascend(patch):
    patch.setattr(HingeLoss, "generator", lambda self, fake: {"g": fake.mean()})


def swap_labels(patch):
    original = Discriminator.forward
    patch.setattr(
        Discriminator,
        "forward",
        lambda self, images, labels: original(self, images, torch.cat(labels.chunk(2)[::-1])),
    )


def forget_to_average(patch):
    patch.setattr(task_module, "update_average", lambda *_: None)


def train_neither(patch):
    patch.setattr(Player, "descend", lambda self, loss: loss.backward())


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [swap_real_and_generated, let_g_ascend, swap_labels, forget_to_average, train_neither],
)
def test_a_gross_fault_shows(fault, monkeypatch):
    fault(monkeypatch)
    assert not passes(learn(ITERATIONS))
