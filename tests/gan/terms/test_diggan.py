import torch
from small_game import SmallGame, gradients, moved, same

from gan_vkd.gan.steps import discriminator_loss


def steepness(play, images, labels):
    """‖∂D/∂x‖ of each image."""
    found = []
    for n in range(len(images)):
        x = images[n : n + 1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(
            play.d(x, labels[n : n + 1])[0].sum(), x, create_graph=True
        )
        found.append(gradient.norm())
    return torch.stack(found)


def test_the_gap_of_the_norms_with_and_without_memory():
    play = SmallGame({"diggan": {"weight": 7.0}}, policies=["translation"], d_steps=2)
    d = play.of_d
    fake = play.g(d.latents, d.labels).detach()
    real_shown = moved(play.real.images, d.real["translation"])
    fake_shown = moved(fake, d.fake["translation"])
    real = steepness(play, real_shown, play.real.labels)
    other = steepness(play, fake_shown, d.labels)
    hinge = (1 - play.d(real_shown, play.real.labels)[0]).clamp(min=0).mean()
    hinge = hinge + (1 + play.d(fake_shown, d.labels)[0]).clamp(min=0).mean()

    loss, scalars, _ = discriminator_loss(play.game, play.real, d, 0, 0)
    first = (other - real).square().mean()
    assert torch.allclose(scalars["diggan"], first)
    assert torch.allclose(loss, hinge + 7 * first)
    assert same(gradients(loss, play.d), gradients(hinge + 7 * first, play.d))

    loss, scalars, seen = discriminator_loss(play.game, play.real, d, 1, 0)
    assert torch.allclose(loss, hinge)  # once an iteration
    assert torch.allclose(scalars["diggan"], first)  # the latest
    assert not seen.steepness

    play.real = type(play.real)(play.real.images.flip(0), play.real.labels.flip(0))
    loss, scalars, _ = discriminator_loss(play.game, play.real, d, 2, 1)
    shown = moved(play.real.images, d.real["translation"])
    now = steepness(play, shown, play.real.labels)
    mixed = (other - 0.5 * now - 0.5 * real.detach()).square().mean()
    assert torch.allclose(scalars["diggan"], mixed)
    names = {"before_real", "before_fake", "remembers", "latest"}
    assert set(play.game.terms["diggan"].state_dict()) == names
