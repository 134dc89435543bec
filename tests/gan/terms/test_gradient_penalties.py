"""R1, R2 and the relativistic loss: second derivatives through augmentation and spectral norm."""

import pytest
import torch
import torch.nn.functional as F
from small_game import SmallDiscriminator, SmallGame, biggans, gradients, moved, same

from gan_vkd.gan.networks.layers import SpectralNorm
from gan_vkd.gan.steps import discriminator_loss, generator_loss


def norms(d, images, labels, offsets):
    """‖∂D(A x)/∂x‖² of each image, by one backward pass an image."""
    found = []
    for n in range(len(images)):
        x = images[n : n + 1].detach().requires_grad_()
        logit = d(moved(x, offsets[n : n + 1]), labels[n : n + 1])[0].sum()
        (gradient,) = torch.autograd.grad(logit, x, create_graph=True)
        found.append(gradient.square().sum())
    return torch.stack(found)


@pytest.mark.parametrize("judge", [SmallDiscriminator, biggans])
@pytest.mark.parametrize("terms", [{"r1": {"gamma": 3.0}}, {"r2": {}}, {"r1": {}, "r2": {}}])
def test_ds_step_is_r3gans(terms, judge):
    play = SmallGame(terms, policies=["translation"], loss="relativistic", judge=judge)
    d = play.of_d
    loss, scalars, _ = discriminator_loss(play.game, play.real, d, 0, 0)
    fake = play.g(d.latents, d.labels).detach()
    real = play.d(moved(play.real.images, d.real["translation"]), play.real.labels)[0]
    other = play.d(moved(fake, d.fake["translation"]), d.labels)[0]
    expected = F.softplus(other - real).mean()
    sides = {
        "r1": (play.real.images, play.real.labels, d.real["translation"]),
        "r2": (fake, d.labels, d.fake["translation"]),
    }
    for name, fields in terms.items():
        penalty = norms(play.d, *sides[name]).mean()
        assert torch.allclose(scalars[name], penalty)
        expected = expected + fields.get("gamma", 0.05) / 2 * penalty
    assert torch.allclose(loss, expected)
    assert same(gradients(loss, play.d), gradients(expected, play.d))


def test_gamma_may_change():
    play = SmallGame({"r1": {"gamma": {"first": 8.0, "last": 2.0, "iterations": 4}}})
    bare = discriminator_loss(SmallGame({}).game, play.real, play.of_d, 0, 0)[0]
    for iteration, gamma in ((0, 8), (2, 5), (4, 2), (9, 2)):
        loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, iteration)
        assert torch.allclose(loss - bare, gamma / 2 * scalars["r1"])
    assert not play.game.terms["r1"].static
    assert "half of 8 to 2 over 4 iterations" in play.game.terms["r1"].summary()


def test_gs_step_compares_with_real_images_that_it_augments_anew():
    play = SmallGame({}, policies=["translation"], loss="relativistic")
    g = play.of_g
    loss, _ = generator_loss(play.game, g, play.real)
    real = play.d(moved(play.real.images, g.real["translation"]), play.real.labels)[0]
    fake = play.d(moved(play.g(g.latents, g.labels), g.fake["translation"]), g.labels)[0]
    expected = F.softplus(real - fake).mean()
    assert torch.allclose(loss, expected)
    assert same(gradients(loss, play.g), gradients(expected, play.g))
    assert not torch.equal(g.real["translation"], play.of_d.real["translation"])


def test_views_of_other_terms_stay_out_of_the_gradients():
    """CR's view is made from the augmented image that R1 differentiates by."""
    alone = SmallGame({"r1": {}}, policies=["translation"])
    beside = SmallGame({"r1": {}, "cr": {"augment": "translation"}}, policies=["translation"])
    values = [discriminator_loss(p.game, p.real, p.of_d, 0, 0)[1]["r1"] for p in (alone, beside)]
    assert torch.allclose(*values, atol=1e-14)


def test_spectral_norm_is_twice_differentiable():
    """Against autograd through W / (uᵀ W v)."""
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    norm = SpectralNorm(weight).double().eval()

    def plain(w):
        v = F.normalize(w.detach().T @ norm.u, dim=0)
        u = F.normalize(w.detach() @ v, dim=0)
        return w / (u @ w @ v)

    found = []
    for normalised in (norm, plain):
        (first,) = torch.autograd.grad(normalised(weight).pow(3).sum(), weight, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), weight)
        found.append((first, second))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1])
