"""The two losses of a step: what V_kD's paper calls its algorithm, on one screen.

Both are pure functions of networks, draws and images: static shapes, no question to the device.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.draws import StepDraws
from gan_vkd.gan.networks.biggan import at_least_fp32
from gan_vkd.gan.terms.term import Seen, Term


@dataclass(frozen=True)
class Game:
    """Who plays, and by which rules.

    Attributes:
        generator: latents [B, z_dim], labels [B] → images [B, C, S, S], -1 to 1.
        discriminator: images, labels → (logits [B] or, of L places an image, [B, L]; h [B, ds]).
        adversarial: the adversarial loss: `discriminator(real, fake)` and `generator(fake)`.
        terms: what is added to D's loss, by name.
        augment: of everything that D is shown.
        teacher: images → features [B, dt], without gradient; None for none.
    """

    generator: nn.Module
    discriminator: nn.Module
    adversarial: object
    terms: Mapping[str, Term]
    augment: Augmentation
    teacher: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class Real:
    """Training images of one step.

    Attributes:
        images: [B, C, S, S], -1 to 1, mirrored where the draws say so.
        labels: int64 [B].
        teacher: the teacher's features [B, dt] of these images; None where no term reads them.
    """

    images: torch.Tensor
    labels: torch.Tensor
    teacher: torch.Tensor | None = None


def discriminator_loss(
    game: Game, real: Real, draws: StepDraws, step: int, iteration: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor], Seen]:
    """L_D = L_adv(D(A x), D(A G(z))) + the terms; A the augmentation, G without gradient.

    Returns:
        The loss, its parts and what the terms say of themselves, and what they saw.
    """
    # 1. Real and generated images, augmented alike; D looks at both in one pass.
    with torch.no_grad():
        fake = at_least_fp32(game.generator(draws.latents, draws.labels))
    shown = torch.cat([game.augment(real.images, draws.real), game.augment(fake, draws.fake)])
    logits, h = game.discriminator(shown, torch.cat([real.labels, draws.labels]))
    logits_real, logits_fake = logits.chunk(2)

    # 2. The adversarial loss.
    scalars = game.adversarial.discriminator(logits_real, logits_fake)
    loss = adversarial = sum(scalars.values())

    # 3. The terms. The teacher sees images as they are before augmentation.
    reads = frozenset().union(*(term.reads(step) for term in game.terms.values()))
    h_real, h_fake = h.chunk(2)
    seen = Seen(
        step=step,
        iteration=iteration,
        real=real.images,
        fake=fake,
        logits_real=logits_real,
        logits_fake=logits_fake,
        h_real=h_real,
        h_fake=h_fake,
        h=h,
        adversarial=adversarial,
        teacher_real=real.teacher if "teacher_real" in reads else None,
        teacher_fake=game.teacher(fake) if "teacher_fake" in reads else None,
    )
    for term in game.terms.values():
        added, named = term.discriminator(seen)
        loss, scalars = loss + added, {**scalars, **named}
    return loss, scalars, seen


def generator_loss(game: Game, draws: StepDraws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """L_G = L_adv(D(A G(z))); D passes gradients on and gets none itself.

    Returns:
        The loss and its parts.
    """
    with _frozen(game.discriminator):
        fake = at_least_fp32(game.generator(draws.latents, draws.labels))
        logits, _ = game.discriminator(game.augment(fake, draws.fake), draws.labels)
    scalars = game.adversarial.generator(logits)
    return sum(scalars.values()), scalars


@contextlib.contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
