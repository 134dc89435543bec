"""The losses of D's and of G's step: the whole algorithm on one screen.

Both are pure functions of networks, draws and images: static shapes, no question to the device.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from gan_vkd import processes
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.draws import StepDraws
from gan_vkd.gan.networks.biggan import at_least_fp32
from gan_vkd.gan.terms.term import GRADIENTS, Look, Made, Real, Scene, Seen, Term, Together, alone


@dataclass(frozen=True)
class Game:
    """Who plays, and by which rules.

    Attributes:
        generator: latents [B, z_dim], labels [B] → images [B, C, S, S], -1 to 1.
        discriminator: images, labels → (logits [B] or, of L places an image, [B, L]; h [B, ds]).
        adversarial: the adversarial loss: `discriminator(real, fake)` and `generator(fake)`, or
            `generator(fake, real)` where G's step compares with real images.
        terms: what is added to D's and G's loss, by name.
        augment: of everything that D is shown.
        teacher: images → features [B, dt], without gradient; None for none.
        together: numbers of a process's own images → those of the whole batch.
    """

    generator: nn.Module
    discriminator: nn.Module
    adversarial: object
    terms: Mapping[str, Term]
    augment: Augmentation
    teacher: Callable[[torch.Tensor], torch.Tensor] | None = None
    together: Together = alone


def discriminator_loss(
    game: Game, real: Real, draws: StepDraws, step: int, iteration: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor], Seen]:
    """L_D = L_adv(D(A x), D(A G(z))) + the terms; A the augmentation, G without gradient.

    Returns:
        The loss, its parts and what the terms say of themselves, and what they saw.
    """
    reads = frozenset().union(*(term.reads(step) for term in game.terms.values()))
    for term in game.terms.values():
        term.begin(draws, "d")

    # 1. Real and generated images, augmented alike; D looks at both, and at views that terms ask
    # for, in one pass.
    generate = torch.no_grad()(partial(_images, game.generator))
    fake = generate(draws.latents, draws.labels)
    scene = Scene(
        step, iteration, draws, real, fake, generate, game.augment, game.teacher, game.together
    )
    for term in game.terms.values():
        scene = replace(scene, real=term.real(scene))
    real = scene.real
    sources = [_leaf(real.images), _leaf(fake)] if reads & {*GRADIENTS} else [real.images, fake]
    shown = [game.augment(sources[0], draws.real), game.augment(sources[1], draws.fake)]
    by = dict(zip(GRADIENTS, [*sources, *shown], strict=True))
    asked = {name: term.show(scene, *shown) for name, term in game.terms.items()}
    asked = {name: view for name, view in asked.items() if view is not None}
    labels = torch.cat([real.labels, draws.labels])
    parts = [*shown, *(view.images for view in asked.values())]
    logits, h = game.discriminator(
        torch.cat(parts), torch.cat([labels, *(view.labels for view in asked.values())])
    )
    # In several processes D answers for the images of all (gan/share.py).
    parts = [len(images) * len(logits) // sum(map(len, parts)) for images in parts]
    real_look, fake_look, *views = map(Look, logits.split(parts), h.split(parts))

    # 2. The adversarial loss.
    scalars = game.adversarial.discriminator(real_look.logits, fake_look.logits)
    loss = adversarial = sum(scalars.values())

    # 3. The terms. The teacher sees images as they are before augmentation.
    seen = Seen(
        step=step,
        iteration=iteration,
        real=real.images,
        fake=fake,
        logits_real=real_look.logits,
        logits_fake=fake_look.logits,
        h_real=real_look.h,
        h_fake=fake_look.h,
        h=h,
        adversarial=adversarial,
        teacher_real=real.teacher if "teacher_real" in reads else None,
        teacher_fake=game.teacher(fake) if "teacher_fake" in reads else None,
        labels=game.together(labels),
        draws=draws,
        views=dict(zip(asked, views, strict=True)),
        steepness=_steepness(game, real_look.logits.sum() + fake_look.logits.sum(), by, reads),
        together=game.together,
    )
    for term in game.terms.values():
        added, named = term.discriminator(seen)
        loss, scalars = loss + added, {**scalars, **named}
    return loss, scalars, seen


def generator_loss(
    game: Game, draws: StepDraws, real: Real | None = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """L_G = L_adv(D(A G(z))) + the terms; D and the terms pass gradients on and get none.

    Args:
        game: the rules.
        draws: the step's random numbers.
        real: training images that G's are compared with, where the adversarial loss does so.

    Returns:
        The loss and its parts.
    """
    generate = partial(_images, game.generator)
    for term in game.terms.values():
        term.begin(draws, "g")
    with _frozen(game.discriminator, *game.terms.values()):
        fake = generate(draws.latents, draws.labels)
        logits, h = game.discriminator(game.augment(fake, draws.fake), draws.labels)
        logits_real = () if real is None else (_judged(game, real, draws),)
        scalars = game.adversarial.generator(logits, *logits_real)
        loss = sum(scalars.values())
        made = Made(fake, logits, h, draws, generate, game.discriminator, game.together)
        for term in game.terms.values():
            if (contribution := term.generator(made)) is not None:
                added, named = contribution
                loss, scalars = loss + added, {**scalars, **named}
    return loss, scalars


def _images(generator: nn.Module, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return at_least_fp32(generator(latents, labels))


def _judged(game: Game, real: Real, draws: StepDraws) -> torch.Tensor:
    with torch.no_grad():
        return game.discriminator(game.augment(real.images, draws.real), real.labels)[0]


def _leaf(images: torch.Tensor) -> torch.Tensor:
    return images.detach().requires_grad_()


def _steepness(
    game: Game, logits: torch.Tensor, by: Mapping[str, torch.Tensor], reads: frozenset[str]
) -> dict[str, torch.Tensor]:
    """‖∂ logits / ∂ x‖² of each image x [B], of the kinds that are asked for.

    Each logit depends on its own image alone, and `logits` is their sum. The whole batch's logits
    pass as many times the gradient on to a process's images as there are processes.
    """
    wanted = {name: images for name, images in by.items() if name in reads}
    if not wanted:
        return {}
    found = torch.autograd.grad(logits, list(wanted.values()), create_graph=True)
    norms = (at_least_fp32(g / processes.size()).square().sum(dim=(1, 2, 3)) for g in found)
    return {name: game.together(norm) for name, norm in zip(wanted, norms, strict=True)}


@contextlib.contextmanager
def _frozen(*networks: nn.Module) -> Iterator[None]:
    """The networks' parameters, as far as they are trained, take no gradients meanwhile."""
    trained = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
