import pytest
import torch
from small_game import SmallGame, biggans, gradients, same

from gan_vkd.errors import GanVkdError
from gan_vkd.gan.steps import discriminator_loss, generator_loss


def test_the_direction_learns_from_its_own_part_alone():
    play = SmallGame({"san": {"weight": 0.7}}, judge=biggans)
    loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    with torch.no_grad():
        fake = play.g(play.of_d.latents, play.of_d.labels)

    def parts(images, labels):
        h = play.d.features(images)
        w = play.d.linear.weight + play.d.embedding.weight[labels]
        omega, length = w / w.norm(dim=1, keepdim=True), w.norm(dim=1, keepdim=True)
        logits = (length * omega.detach() * h).sum(1) + play.d.linear.bias
        return logits, (length.detach() * omega * h.detach()).sum(1)

    (real, along_real), (other, along_fake) = (
        parts(play.real.images, play.real.labels),
        parts(fake, play.of_d.labels),
    )
    gap = along_fake.mean() - along_real.mean()
    expected = (1 - real).clamp(min=0).mean() + (1 + other).clamp(min=0).mean() + 0.7 * gap
    assert torch.allclose(loss, expected)
    assert torch.allclose(scalars["san"], gap)
    assert same(gradients(loss, play.d), gradients(expected, play.d))


def test_logits_and_gs_gradients_are_those_without_it():
    with_san, without = SmallGame({"san": {}}, judge=biggans), SmallGame({}, judge=biggans)
    ours, theirs = (generator_loss(play.game, play.of_g)[0] for play in (with_san, without))
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert same(gradients(ours, with_san.g), gradients(theirs, without.g))


def test_it_is_for_hinge_and_biggans_discriminator():
    with pytest.raises(GanVkdError, match="needs BigGAN's discriminator"):
        SmallGame({"san": {}})
    with pytest.raises(GanVkdError, match="leave --loss relativistic out"):
        SmallGame({"san": {}}, loss="relativistic", judge=biggans)
