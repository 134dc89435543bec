"""A GAN of a few numbers in float64: its steps are written again by hand in the terms' tests."""

from dataclasses import replace

import torch
from torch import nn

from gan_vkd.config.registry import LOSSES, TERMS
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.draws import Draws
from gan_vkd.gan.networks.biggan import Discriminator
from gan_vkd.gan.steps import Game, Real
from gan_vkd.gan.terms.term import Setting
from gan_vkd.randomness import generator

B, Z, SIDE, CLASSES, DS = 5, 3, 8, 4, 6


class SmallGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(Z, 3 * SIDE * SIDE)
        self.classes = nn.Embedding(CLASSES, 3 * SIDE * SIDE)

    def forward(self, latents, labels):
        flat = torch.tanh(self.linear(latents) + self.classes(labels))
        return flat.view(-1, 3, SIDE, SIDE)


class SmallDiscriminator(nn.Module):
    feature_dim = DS

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3 * SIDE * SIDE, DS)
        self.linear = nn.Linear(DS, 1)
        self.embedding = nn.Embedding(CLASSES, DS)

    def forward(self, images, labels):
        h = torch.tanh(self.first(images.flatten(1)))
        return self.linear(h).squeeze(1) + (self.embedding(labels) * h).sum(1), h


class SmallGame:
    """Rules, images and draws of one step of each player."""

    def __init__(self, terms: dict, policies=(), loss="hinge", batch=B, judge=None, **setting):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.g, self.d = SmallGenerator().double(), (judge or SmallDiscriminator)().double()
        augmentation, adversarial = Augmentation(policies), LOSSES[loss]()
        made = {}
        for name, fields in terms.items():
            own = Setting(
                feature_dim=self.d.feature_dim,
                name=name,
                loss=loss,
                policies=tuple(policies),
                z_dim=Z,
                batch_size=batch,
                **setting,
            )
            made[name] = TERMS[name](TERMS[name].Settings(**fields), own).double()
            made[name].alter(self.d, augmentation)
        self.game = Game(self.g, self.d, adversarial, made, augmentation)
        numbers = generator("small game")
        labels = torch.randint(CLASSES, (batch,), generator=numbers)
        images = torch.rand(batch, 3, SIDE, SIDE, generator=numbers, dtype=torch.float64) * 2 - 1
        self.real = Real(images, labels)
        draws = Draws(
            labels,
            image_size=SIDE,
            batch_size=batch,
            d_steps=1,
            z_dim=Z,
            flip=False,
            augmentation=augmentation,
            seed=3,
            terms={name: term.draw for name, term in made.items()},
            paired=adversarial.paired,
        )
        of_d, of_g = draws.by_step(draws.of_iteration(0))
        self.of_d, self.of_g = in_float64(of_d), in_float64(of_g)


def in_float64(draws):
    own = {
        name: {key: n.double() if n.is_floating_point() else n for key, n in numbers.items()}
        for name, numbers in draws.own.items()
    }
    return replace(draws, latents=draws.latents.double(), own=own)


def moved(images, offsets):
    """Images shifted by whole pixels, one by one; what comes in is 0."""
    out = torch.zeros_like(images)
    for n, (down, right) in enumerate(offsets.tolist()):
        for y in range(SIDE):
            for x in range(SIDE):
                if 0 <= y - down < SIDE and 0 <= x - right < SIDE:
                    out[n, :, y, x] = images[n, :, y - down, x - right]
    return out


def mirrored(images, coins):
    return torch.stack([x.flip(-1) if c else x for x, c in zip(images, coins, strict=True)])


def gradients(loss, network):
    return torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)


def same(ours, expected):
    return all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, expected, strict=True))


def biggans():
    """BigGAN's discriminator at its smallest, in eval mode: power iterations stand still."""
    shape = {"num_classes": CLASSES, "image_size": 16, "channels": 2}
    return Discriminator(**shape).eval()
