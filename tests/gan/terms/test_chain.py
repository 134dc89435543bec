"""CHAIN against its equations in numpy, and a step of D written by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_game import SmallGame, biggans, gradients, same

from gan_vkd.config.layers import resolve, set_layer
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.cast import terms_of
from gan_vkd.gan.networks.chain import Chain, Passing
from gan_vkd.gan.steps import discriminator_loss, generator_loss


def test_a_layer_follows_its_equations_through_steps_of_d_and_g():
    draws = np.random.default_rng(0)
    p, passing = 0.6, Passing(lambda: torch.tensor(0.6))
    layer = Chain(3, slice(1, 4), passing).double()
    squares, slopes = np.ones((2, 3)), np.zeros((3, 3))
    for turn in range(6):
        of_d = turn % 2 == 0
        kinds = ("real", "fake") if of_d else ("fooling",)
        x = draws.standard_normal((len(kinds), 4, 3, 2, 2)) * [[[1]], [[5]], [[0.2]]]
        numbers, g = draws.random((4, 2, 5)), draws.standard_normal(x.shape)
        passing.begin(len(kinds), torch.from_numpy(numbers))
        given = torch.from_numpy(x).flatten(0, 1).requires_grad_()
        out = layer(given)
        out.backward(torch.from_numpy(g).flatten(0, 1))
        means = passing.means[0].unflatten(0, (len(kinds), 4)).detach().numpy()
        assert np.allclose(means, x.mean((3, 4)))

        for number, kind in enumerate(kinds):
            row = 0 if kind == "real" else 1
            squares[row] = 0.9 * squares[row] + 0.1 * (x[number] ** 2).mean((0, 2, 3))
            psi = np.sqrt(squares[row] + 1e-5)[:, None, None]
            least = np.sqrt(squares[row].min())
            masks = (numbers[:, number, 1:4] < p)[..., None, None]
            y = x[number] / psi
            expected = np.where(masks, y * least, x[number])
            slope = {"real": 0, "fake": 1, "fooling": 2}[kind]
            through = g[number] * masks * least
            slopes[slope] = 0.9 * slopes[slope] + 0.1 * (y * through).mean((0, 2, 3))
            back = (through - slopes[slope][:, None, None] * y) / psi + g[number] * ~masks
            part = slice(4 * number, 4 * number + 4)
            assert np.allclose(out[part].detach().numpy(), expected, atol=1e-12)
            assert np.allclose(given.grad[part].numpy(), back, atol=1e-12)
    assert np.allclose(layer.squares.numpy(), squares)
    assert np.allclose(layer.slopes.numpy(), slopes)


def test_in_eval_mode_a_map_is_the_mean_of_what_it_may_be():
    layer = Chain(2, slice(2), Passing(lambda: torch.tensor(0.25))).double().eval()
    layer.squares.copy_(torch.tensor([[4.0, 9.0], [1.0, 1.0]]))
    x = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    expected = [0.75 + 0.25 * 2 / np.sqrt(4 + 1e-5), 0.75 + 0.25 * 2 / np.sqrt(9 + 1e-5)]
    assert layer(x).flatten().tolist() == pytest.approx(expected)
    assert layer.squares[0].tolist() == [4, 9]


class Double(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        assert x.shape[1] == self.channels
        return x.square()


def test_layers_stand_behind_each_convolution_before_pooling():
    for block in biggans().double().blocks:
        block.normalise(Double)
        x = torch.randn(2, block.conv1.in_channels, 8, 8, dtype=torch.float64)
        h = F.conv2d(x if block.first else F.relu(x), block.conv1.weight, block.conv1.bias, 1, 1)
        h = F.conv2d(F.relu(h**2), block.conv2.weight, block.conv2.bias, 1, 1) ** 2
        beside = x
        if isinstance(block.shortcut, torch.nn.Conv2d):
            beside = F.conv2d(x, block.shortcut.weight, block.shortcut.bias) ** 2
        expected = F.avg_pool2d(h + beside, 2) if block.downsample else h + beside
        assert torch.allclose(block(x), expected)


def chained(**fields) -> SmallGame:
    """BigGAN's discriminator with its power iterations standing still, CHAIN's layers moving."""
    play = SmallGame({"chain": fields}, judge=biggans)
    for layer in play.d.double().modules():
        if isinstance(layer, Chain):
            layer.train()
    return play


def maps(d, x):
    """What comes out of each convolution, and D's features."""
    found = []
    for block in d.blocks:
        h = F.conv2d(x if block.first else F.relu(x), block.conv1.weight, block.conv1.bias, 1, 1)
        found.append(h)
        h = F.conv2d(F.relu(h), block.conv2.weight, block.conv2.bias, 1, 1)
        found.append(h)
        if isinstance(block.shortcut, torch.nn.Conv2d):
            x = F.conv2d(x, block.shortcut.weight, block.shortcut.bias)
            found.append(x)
        x = F.avg_pool2d(h + x, 2) if block.downsample else h + x
    return found, F.relu(x).sum((2, 3))


def test_ds_loss_has_the_means_of_both_kinds():
    play = chained(weight=3.0, base=0.2, start=1)
    loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    fake = play.g(play.of_d.latents, play.of_d.labels).detach()
    hinge, drawn = 0, 0
    sides = ((play.real.images, play.real.labels, -1), (fake, play.of_d.labels, 1))
    for images, labels, sign in sides:
        found, h = maps(play.d, images)
        hinge = hinge + (1 + sign * play.d.judge(h, labels)).clamp(min=0).mean()
        drawn = drawn + sum(x.mean((0, 2, 3)).square().sum() for x in found)
    expected = hinge + 3.0 * 0.2 * drawn  # p is 0, so maps are as they come
    assert torch.allclose(scalars["chain"], drawn)
    assert torch.allclose(loss, expected)
    assert same(gradients(loss, play.d), gradients(expected, play.d))
    assert scalars["chain_p"] == play.game.terms["chain"].p == 0


def test_p_follows_the_sign_of_real_logits():
    play = chained(target=-0.2, speed=0.6, start=1)
    signs, values = [1, 1, -1, -1, -1, -1, -1, 1], []
    for step, logit in enumerate(signs):
        with torch.no_grad():
            play.d.linear.bias.fill_(100.0 * logit)
        loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, step, step)
        loss.backward()  # p has moved, the loss has the p of before
        values.append((scalars["chain_p"].item(), play.game.terms["chain"].p.item()))
    sign, p, expected = 0.0, 0.0, [(0.0, 0.0)]
    for logit in signs[1:]:
        sign = 0.9 * sign + 0.1 * logit
        expected.append((p, min(1.0, max(0.0, p + 0.6 * np.sign(sign + 0.2)))))
        p = expected[-1][1]
    assert values == [pytest.approx(pair) for pair in expected]
    assert {0.0, 0.6, 1.0} <= {round(after, 6) for _, after in values}


def test_all_players_see_normalised_maps_and_each_kind_has_its_statistics():
    play = chained()
    term = play.game.terms["chain"]
    losses = {}
    for p in (0.0, 1.0):
        term.p.fill_(p)
        losses[p] = [
            discriminator_loss(play.game, play.real, play.of_d, 0, 0)[0].item(),
            generator_loss(play.game, play.of_g)[0].item(),
        ]
    assert all(abs(a - b) > 1e-9 for a, b in zip(losses[0.0], losses[1.0], strict=True))
    layer = play.d.blocks[0].norms[0]
    before = layer.squares.clone(), layer.slopes.clone()
    discriminator_loss(play.game, play.real, play.of_d, 0, 0)[0].backward()
    assert (layer.squares != before[0]).all()
    assert [bool((a != b).any()) for a, b in zip(layer.slopes, before[1], strict=True)] == [
        *(True, True, False)
    ]
    before = layer.squares.clone(), layer.slopes.clone()
    generator_loss(play.game, play.of_g)[0].backward()
    assert torch.equal(layer.squares[0], before[0][0])
    assert (layer.squares[1] != before[0][1]).all()
    assert torch.equal(layer.slopes[:2], before[1][:2])
    assert layer.slopes[2].any()
    assert {"p", "sign"} == set(term.state_dict())
    assert "blocks.0.norms.0.slopes" in play.d.state_dict()


def test_numbers_are_drawn_for_every_map():
    play = chained()
    numbers = play.of_d.own["chain"]["numbers"]
    channels = sum(layer.squares.shape[1] for layer in play.d.modules() if isinstance(layer, Chain))
    assert numbers.shape == (5, 2, channels)
    assert len(numbers.unique()) > 0.99 * numbers.numel()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("r1", "needs the gradient of each image's logit"),
        ("cr", "shows D further images"),
    ],
)
def test_what_chain_has_no_statistics_for_is_refused_in_any_order(other, reason):
    for names in ((other, "chain"), ("chain", other)):
        recipe = resolve([("set", set_layer([f"terms.{name}={{}}" for name in names]))])
        with pytest.raises(GanVkdError, match=f"--with {other}: {reason}.*--with chain norm"):
            terms_of(recipe, biggans(), Augmentation(()), 0, ("a",), 50)


def test_it_is_for_hinge_and_biggans_discriminator():
    with pytest.raises(GanVkdError, match="needs BigGAN's discriminator"):
        SmallGame({"chain": {}})
    with pytest.raises(GanVkdError, match="leave --loss relativistic out"):
        SmallGame({"chain": {}}, loss="relativistic", judge=biggans)
