"""ADA's and APA's part in a step."""

import pytest
import torch
from small_game import SmallGame

from gan_vkd.errors import GanVkdError
from gan_vkd.gan.steps import discriminator_loss, generator_loss


def test_apa_shows_generated_images_of_the_same_class_as_real():
    play = SmallGame({"apa": {"start": 0.5}}, batch=8)
    own = play.of_d.own["apa"]
    pseudo = play.g(own["latents"], play.real.labels).detach()
    replaced = own["gates"] < 0.5
    assert 0 < replaced.sum() < 8
    loss, scalars, seen = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    expected = torch.stack(
        [p if r else x for p, r, x in zip(pseudo, replaced, play.real.images, strict=True)]
    )
    assert torch.equal(seen.real, expected)
    fake = play.g(play.of_d.latents, play.of_d.labels).detach()
    real, other = play.d(expected, play.real.labels)[0], play.d(fake, play.of_d.labels)[0]
    hinge = (1 - real).clamp(min=0).mean() + (1 + other).clamp(min=0).mean()
    assert torch.allclose(loss, hinge)
    assert scalars["apa_p"] == 0.5
    assert not torch.equal(own["latents"], play.of_d.latents)


def test_apas_teacher_looks_at_what_d_is_shown():
    play = SmallGame({"apa": {"start": 0.5}}, batch=8)
    play.game = type(play.game)(*vars(play.game).values())
    object.__setattr__(play.game, "teacher", lambda x: x.mean(dim=(2, 3)))
    real = type(play.real)(play.real.images, play.real.labels, play.real.images.mean(dim=(2, 3)))
    reads = play.game.terms["apa"]
    reads.reads = lambda step: frozenset({"teacher_real"})
    _, _, seen = discriminator_loss(play.game, real, play.of_d, 0, 0)
    assert torch.allclose(seen.teacher_real, seen.real.mean(dim=(2, 3)))


def test_adas_p_moves_with_d_and_augments_all_that_d_is_shown():
    play = SmallGame({"adaptive": {"images": 20, "interval": 2, "target": -0.9}}, policies=["ada"])
    with torch.no_grad():  # D says 1 of everything
        play.d.linear.bias.add_(100)
    first, _, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    controller = play.game.terms["adaptive"].controller
    assert controller.p == 0
    _, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 1, 0)
    assert scalars["ada_p"] == controller.p == 0.5
    after, _, _ = discriminator_loss(play.game, play.real, play.of_d, 2, 0)
    assert not torch.allclose(first, after)
    generated = [generator_loss(play.game, play.of_g)[0].item()]
    controller.p.fill_(0.0)
    generated.append(generator_loss(play.game, play.of_g)[0].item())
    assert generated[0] != pytest.approx(generated[1], abs=1e-9)
    assert set(play.game.terms["adaptive"].state_dict()) == {"controller.p", "controller.signs"}


def test_ada_without_its_augmentation_is_refused():
    with pytest.raises(GanVkdError, match="add --augment ada"):
        SmallGame({"adaptive": {}})
