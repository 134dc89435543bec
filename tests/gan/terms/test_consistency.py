"""CR, bCR, zCR and mode seeking against their formulas in float64."""

import pytest
import torch
from small_game import SmallGame, gradients, mirrored, moved, same

from gan_vkd.errors import GanVkdError
from gan_vkd.gan.steps import discriminator_loss, generator_loss


def hinge(real, fake):
    return (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()


def plain(play):
    """Generated images, and D's logits of both kinds, without augmentation."""
    fake = play.g(play.of_d.latents, play.of_d.labels).detach()
    logits_real = play.d(play.real.images, play.real.labels)[0]
    return fake, logits_real, play.d(fake, play.of_d.labels)[0]


def test_cr_without_augmentation_mirrors_and_shifts_the_real_images():
    play = SmallGame({"cr": {"weight": 3.0}})
    loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    _, real, fake = plain(play)
    own = play.of_d.own["cr"]
    assert own["real flip"].any()
    changed = moved(mirrored(play.real.images, own["real flip"]), own["real translation"])
    missed = (play.d(changed, play.real.labels)[0] - real).square().mean()
    expected = hinge(real, fake) + 3 * missed
    assert torch.allclose(loss, expected)
    assert torch.allclose(scalars["cr"], missed)
    assert same(gradients(loss, play.d), gradients(expected, play.d))


def test_cr_in_a_run_with_augmentation_compares_with_the_bare_image():
    play = SmallGame({"cr": {}}, policies=["translation"])
    loss, _, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    fake, bare, _ = plain(play)
    shown = play.d(moved(play.real.images, play.of_d.real["translation"]), play.real.labels)[0]
    other = play.d(moved(fake, play.of_d.fake["translation"]), play.of_d.labels)[0]
    assert torch.allclose(loss, hinge(shown, other) + 10 * (bare - shown).square().mean())


def test_crs_own_policies_change_what_d_is_shown():
    play = SmallGame({"cr": {"augment": "translation"}}, policies=["translation"])
    _, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    shown = moved(play.real.images, play.of_d.real["translation"])
    twice = moved(shown, play.of_d.own["cr"]["real translation"])
    missed = play.d(twice, play.real.labels)[0] - play.d(shown, play.real.labels)[0]
    assert torch.allclose(scalars["cr"], missed.square().mean())


def test_bcr_balances_real_and_generated_images():
    play = SmallGame({"bcr": {"weight": 2.0, "weight_fake": 5.0}})
    loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    fake, logits_real, logits_fake = plain(play)
    own, missed = play.of_d.own["bcr"], {}
    for side, images, labels, logits in (
        ("real", play.real.images, play.real.labels, logits_real),
        ("fake", fake, play.of_d.labels, logits_fake),
    ):
        changed = moved(mirrored(images, own[f"{side} flip"]), own[f"{side} translation"])
        missed[side] = (play.d(changed, labels)[0] - logits).square().mean()
    assert torch.allclose(scalars["bcr_real"], missed["real"])
    assert torch.allclose(scalars["bcr_fake"], missed["fake"])
    expected = hinge(logits_real, logits_fake) + 2 * missed["real"] + 5 * missed["fake"]
    assert torch.allclose(loss, expected)
    assert same(gradients(loss, play.d), gradients(expected, play.d))
    assert not torch.equal(own["real translation"], own["fake translation"])


def test_zcr_holds_d_still_and_moves_g():
    play = SmallGame({"zcr": {"noise": 0.3}}, policies=["translation"])
    loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    d, g = play.of_d, play.of_g
    with torch.no_grad():
        fake, other = (play.g(d.latents + s * d.own["zcr"]["noise"], d.labels) for s in (0, 0.3))
    shown = [play.d(moved(x, d.fake["translation"]), d.labels)[0] for x in (fake, other)]
    real = play.d(moved(play.real.images, d.real["translation"]), play.real.labels)[0]
    missed = (shown[0] - shown[1]).square().mean()
    expected = hinge(real, shown[0]) + 20 * missed
    assert torch.allclose(loss, expected)
    assert torch.allclose(scalars["zcr"], missed)
    assert same(gradients(loss, play.d), gradients(expected, play.d))

    loss, scalars = generator_loss(play.game, g)
    fake, other = (play.g(g.latents + s * g.own["zcr"]["noise"], g.labels) for s in (0, 0.3))
    moved_by = (fake - other).square().mean()
    logits = play.d(moved(fake, g.fake["translation"]), g.labels)[0]
    expected = -logits.mean() - 0.5 * moved_by
    assert torch.allclose(loss, expected)
    assert torch.allclose(scalars["zcr_images"], moved_by)
    assert same(gradients(loss, play.g), gradients(expected, play.g))


def test_mode_seeking_pulls_images_of_one_class_apart():
    play = SmallGame({"mode-seeking": {"weight": 0.7}}, policies=["translation"])
    d = play.of_d
    assert "mode_seeking" not in discriminator_loss(play.game, play.real, d, 0, 0)[1]
    g = play.of_g
    loss, scalars = generator_loss(play.game, g)
    other = g.own["mode-seeking"]["latents"]
    fake, far = (play.g(z, g.labels) for z in (g.latents, other))
    ratio = (fake - far).abs().mean() / (g.latents - other).abs().mean()
    logits = play.d(moved(fake, g.fake["translation"]), g.labels)[0]
    expected = -logits.mean() + 0.7 / (ratio + 1e-5)
    assert torch.allclose(loss, expected)
    assert torch.allclose(scalars["mode_seeking"], ratio)
    assert same(gradients(loss, play.g), gradients(expected, play.g))


def test_two_views_that_are_one_are_refused_and_digits_are_not_mirrored():
    with pytest.raises(GanVkdError, match="both views would be the same"):
        SmallGame({"cr": {"augment": "none"}})
    with pytest.raises(GanVkdError, match="--with bcr"):
        SmallGame({"bcr": {"augment": "flip"}}, flip=False)
    with pytest.raises(GanVkdError, match="images are not mirrored"):
        SmallGame({"cr": {"augment": "flip"}}, flip=False, policies=["translation"])
    assert list(SmallGame({"cr": {}}, flip=False).of_d.own["cr"]) == ["real translation"]
