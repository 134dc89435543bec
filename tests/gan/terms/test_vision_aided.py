"""Vision-aided heads against their formulas in float64."""

import pytest
import torch
import torch.nn.functional as F
from small_game import SmallGame, gradients

from gan_vkd.distill.pyramid import two_within
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.steps import discriminator_loss, generator_loss

NAMES = ("a", "b", "c", "d")
FIELDS = {"backbone": "random:test_efficientnet", "image_size": 64, "start": 3, "weight": 2.0}


@pytest.fixture(scope="module")
def played():
    game = SmallGame(
        {"vision-aided": {**FIELDS, "augment": "translation"}}, class_names=NAMES, image_size=8
    )
    term = game.game.terms["vision-aided"]
    torch.manual_seed(0)
    for level in term.levels:
        settle(level.conv, level.judge)
    settle(term.last.linear, term.last.judge)
    return game, term


def settle(*layers):
    """Weights that matter, and the spectral norms' power iterations at their end."""
    for layer in layers:
        parts = layer.parametrizations.weight
        parts.original.data.normal_()
        parts[0].u.copy_(torch.linalg.svd(parts.original.detach().flatten(1))[0][:, 0])


def over_sigma(layer):
    weight = layer.parametrizations.weight.original
    return weight / torch.linalg.matrix_norm(weight.flatten(1), 2)


def levels(term, images, labels):
    """The logits of the three levels."""
    first, second, pooled = term.frozen(images)
    out = []
    for x, head in ((first, term.levels[0]), (second, term.levels[1])):
        x = F.conv2d(x, over_sigma(head.conv), head.conv.bias, padding=1).clamp(min=0)
        taps = torch.tensor([1, 3, 3, 1], dtype=x.dtype) / 8
        x = F.pad(x, (1, 1, 1, 1))
        x = sum(t * x[:, :, i : i + x.shape[2] - 3] for i, t in enumerate(taps))
        x = sum(t * x[..., i : i + x.shape[3] - 3] for i, t in enumerate(taps))
        x = torch.einsum("bchw,c->bhw", x, over_sigma(head.judge)[0, :, 0, 0]) + head.judge.bias
        out.append(x[:, ::2, ::2])
    h = (pooled @ over_sigma(term.last.linear).T + term.last.linear.bias).clamp(min=0)
    logit = (h @ over_sigma(term.last.judge).T + term.last.judge.bias).squeeze(1)
    return [*out, logit + (h * term.last.embedding.weight[labels]).sum(1)]


def moved(images, offsets):
    padded = F.pad(images, (1, 1, 1, 1))
    size = images.shape[-1]
    rows = zip(padded, offsets.tolist(), strict=True)
    return torch.stack([p[:, 1 - d : 1 - d + size, 1 - r : 1 - r + size] for p, (d, r) in rows])


def test_d_s_part_is_the_hinge_of_each_level_on_images_augmented_for_it(played):
    game, term = played
    loss, scalars, _ = discriminator_loss(game.game, game.real, game.of_d, step=0, iteration=3)
    own = game.of_d.own["vision-aided"]
    with torch.no_grad():
        fake = game.g(game.of_d.latents, game.of_d.labels)
    real = levels(term, moved(game.real.images, own["real translation"]), game.real.labels)
    fake = levels(term, moved(fake, own["fake translation"]), game.of_d.labels)
    parts = {
        "vision_real": sum((1 - x).clamp(min=0).mean() for x in real),
        "vision_fake": sum((1 + x).clamp(min=0).mean() for x in fake),
    }
    for name, expected in parts.items():
        assert scalars[name].item() == pytest.approx(expected.item(), abs=1e-6)
    total = scalars["d_real"] + scalars["d_fake"] + 2 * sum(parts.values())
    assert loss.item() == pytest.approx(total.item(), abs=1e-6)
    trained = [term.levels[0].judge.bias, term.last.embedding.weight]
    ours = torch.autograd.grad(loss, trained, retain_graph=True)
    wanted = torch.autograd.grad(2 * sum(parts.values()), trained)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, wanted, strict=True))
    assert (torch.stack([own["real translation"], own["fake translation"]]) != 0).any()


def test_g_s_part_goes_through_the_frozen_features(played):
    game, term = played
    discriminator_loss(game.game, game.real, game.of_d, step=0, iteration=3)
    loss, scalars = generator_loss(game.game, game.of_g)
    images = game.g(game.of_g.latents, game.of_g.labels)
    shifts = game.of_g.own["vision-aided"]["fake translation"]
    logits = levels(term, moved(images, shifts), game.of_g.labels)
    value = -sum(x.mean() for x in logits)
    assert scalars["vision_g"].item() == pytest.approx(value.item(), abs=1e-6)
    adversarial = -game.d(images, game.of_g.labels)[0].mean()
    ours, wanted = gradients(loss, game.g), gradients(adversarial + 2 * value, game.g)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, wanted, strict=True))
    assert all(p.grad is None for p in term.parameters())


def test_before_its_start_it_changes_nothing(played):
    game, term = played
    state = {name: tensor.clone() for name, tensor in term.state_dict().items()}
    loss, scalars, _ = discriminator_loss(game.game, game.real, game.of_d, step=0, iteration=2)
    assert loss == scalars["d_real"] + scalars["d_fake"]
    g_loss, g_scalars = generator_loss(game.game, game.of_g)
    assert g_loss == g_scalars["g"]
    assert all(torch.equal(state[name], tensor) for name, tensor in term.state_dict().items())
    assert term.phase(0, 2) != term.phase(0, 3)


def test_only_heads_train_and_are_saved(played):
    _, term = played
    names = {name for name, _ in term.named_parameters()}
    assert {name.split(".")[0] for name in names} == {"levels", "last"}
    assert {n for n in term.state_dict() if "frozen" in n} == {"frozen._extra_state"}


def test_features_come_from_clip_s_blocks_4_and_8_or_the_stages_before_the_last():
    assert two_within([32] * 12) == [3, 7]  # counted from 0
    assert two_within([2, 4, 8, 16, 32]) == [2, 3]


def test_what_does_not_fit_is_refused():
    with pytest.raises(GanVkdError, match=r"vision-aided: image_size 64 is less than .* 128"):
        SmallGame({"vision-aided": FIELDS}, class_names=NAMES, image_size=128)
