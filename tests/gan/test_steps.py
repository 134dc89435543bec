"""Who is shown what in a step: recording networks and a recording teacher."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gan_vkd.gan.draws import StepDraws
from gan_vkd.gan.losses.hinge import HingeLoss
from gan_vkd.gan.steps import Game, Real, discriminator_loss, generator_loss
from gan_vkd.gan.terms.term import Contribution, Setting, Term, TermSettings

B = 3


class RecordingGenerator(nn.Module):
    """Image i is filled with latent i."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.calls = []

    def forward(self, latents, labels):
        self.calls.append((latents, labels, torch.is_grad_enabled(), self.training))
        return (self.gain * latents[:, :1, None, None]).expand(-1, 3, 4, 4)


class RecordingDiscriminator(nn.Module):
    """h is the images' mean and its negative; logits are the first of them times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.calls = []

    def forward(self, images, labels):
        self.calls.append((images, labels, self.weight.requires_grad, self.training))
        mean = self.weight * images.mean(dim=(1, 2, 3))
        return mean, torch.stack([mean, -mean], dim=1)


class Plus:
    """An augmentation that adds what was drawn."""

    def __call__(self, images, draws):
        return images + draws["plus"][:, None, None, None]


class RecordingTerm(Term):
    paper = "none"

    def __init__(self, reads: set[str]):
        super().__init__(TermSettings(), Setting(2))
        self._reads, self.seen = frozenset(reads), []
        self.scale = nn.Parameter(torch.tensor(10.0))

    def reads(self, step):
        return self._reads

    def discriminator(self, seen):
        self.seen.append(seen)
        value = seen.h.square().mean()
        return Contribution(self.scale * value, {"recorded": value})


def draws(real: bool) -> StepDraws:
    own = (
        torch.tensor([[0.1], [0.2], [0.3]]),
        torch.tensor([4, 5, 6]),
        {"plus": torch.tensor([100.0, 200.0, 300.0])},
    )
    if not real:
        return StepDraws(*own)
    augmenting = {"plus": torch.tensor([1000.0, 2000.0, 3000.0])}
    return StepDraws(*own, torch.tensor([0, 1, 2]), torch.zeros(B, dtype=torch.bool), augmenting)


def filled(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 4)


@pytest.fixture
def real():
    return Real(filled(0.7, 0.8, 0.9), torch.tensor([1, 2, 3]), torch.full((B, 5), 7.0))


@pytest.fixture
def game():
    taught = []

    def teacher(images):
        taught.append(images)
        return torch.full((B, 5), 8.0)

    term = RecordingTerm({"teacher_real", "teacher_fake"})
    game = Game(
        RecordingGenerator(),
        RecordingDiscriminator(),
        HingeLoss(),
        {"recording": term},
        Plus(),
        teacher,
    )
    return game, taught, term


def test_d_sees_real_then_generated_images_each_with_its_labels_and_augmented_by_its_draws(
    game, real
):
    players, _, _ = game
    discriminator_loss(players, real, draws(True), 0, 0)
    ((images, labels, _, _),) = players.discriminator.calls
    assert torch.allclose(images, filled(1000.7, 2000.8, 3000.9, 100.1, 200.2, 300.3))
    assert labels.tolist() == [1, 2, 3, 4, 5, 6]
    ((latents, drawn, grad, training),) = players.generator.calls
    assert torch.equal(latents, draws(True).latents)
    assert drawn.tolist() == [4, 5, 6]
    assert not grad
    assert training


def test_ds_loss_calls_real_images_real_and_generated_ones_generated(game, real):
    players, _, _ = game
    loss, scalars, _ = discriminator_loss(players, real, draws(True), 0, 0)
    assert scalars["d_real"] == 0  # logits of thousands
    mean_fake = 2 * (100.1 + 200.2 + 300.3) / 3
    assert scalars["d_fake"].item() == pytest.approx(1 + mean_fake)
    assert loss.item() == pytest.approx(1 + mean_fake + 10 * scalars["recorded"].item())


def test_ds_loss_reaches_d_and_the_terms_but_not_g(game, real):
    players, _, term = game
    discriminator_loss(players, real, draws(True), 0, 0)[0].backward()
    assert players.discriminator.weight.grad != 0
    assert term.scale.grad != 0
    assert players.generator.gain.grad is None


def test_the_teacher_sees_generated_images_before_augmentation(game, real):
    players, taught, term = game
    discriminator_loss(players, real, draws(True), 3, 1)
    (images,) = taught
    assert torch.allclose(images, filled(0.1, 0.2, 0.3))
    assert not images.requires_grad
    (seen,) = term.seen
    assert torch.equal(seen.teacher_real, real.teacher)
    assert (seen.teacher_fake == 8).all()
    assert (seen.step, seen.iteration) == (3, 1)


def test_terms_are_given_what_belongs_together(game, real):
    players, _, term = game
    _, scalars, returned = discriminator_loss(players, real, draws(True), 0, 0)
    (seen,) = term.seen
    assert seen is returned
    assert torch.equal(seen.real, real.images)
    assert torch.allclose(seen.fake, filled(0.1, 0.2, 0.3))
    assert torch.allclose(seen.logits_real, 2 * torch.tensor([1000.7, 2000.8, 3000.9]))
    assert torch.allclose(seen.logits_fake, 2 * torch.tensor([100.1, 200.2, 300.3]))
    assert torch.equal(seen.h_real[:, 0], seen.logits_real)
    assert torch.equal(seen.h_fake[:, 0], seen.logits_fake)
    assert torch.equal(seen.h, torch.cat([seen.h_real, seen.h_fake]))
    assert torch.equal(seen.adversarial, scalars["d_real"] + scalars["d_fake"])


@pytest.mark.parametrize("reads", [set(), {"teacher_real"}, {"teacher_fake"}])
def test_the_teacher_is_asked_for_what_is_read_only(game, real, reads):
    players, taught, term = game
    term._reads = frozenset(reads)
    discriminator_loss(players, real, draws(True), 0, 0)
    assert len(taught) == ("teacher_fake" in reads)
    (seen,) = term.seen
    assert (seen.teacher_real is not None) == ("teacher_real" in reads)
    assert (seen.teacher_fake is not None) == ("teacher_fake" in reads)


def test_g_is_judged_by_d_on_augmented_images_with_its_labels(game):
    players, taught, term = game
    loss, scalars = generator_loss(players, draws(False))
    ((images, labels, trained, training),) = players.discriminator.calls
    assert torch.allclose(images, filled(100.1, 200.2, 300.3))
    assert labels.tolist() == [4, 5, 6]
    assert not trained
    assert training
    ((latents, drawn, grad, training),) = players.generator.calls
    assert torch.equal(latents, draws(False).latents)
    assert drawn.tolist() == [4, 5, 6]
    assert grad
    assert training
    assert loss.item() == scalars["g"].item() == pytest.approx(-2 * (100.1 + 200.2 + 300.3) / 3)
    assert not taught
    assert not term.seen


def test_gs_loss_reaches_g_alone_and_d_learns_again_afterwards(game):
    players, _, term = game
    generator_loss(players, draws(False))[0].backward()
    assert players.generator.gain.grad.item() == pytest.approx(-2 * 0.2)
    assert players.discriminator.weight.grad is None
    assert term.scale.grad is None
    assert players.discriminator.weight.requires_grad


def test_d_learns_again_though_gs_step_failed(game):
    players, _, _ = game
    with pytest.raises(KeyError):
        generator_loss(players, replace(draws(False), fake={}))
    assert players.discriminator.weight.requires_grad
