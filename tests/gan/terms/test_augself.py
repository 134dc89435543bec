import pytest
import torch
from small_game import SIDE, SmallGame, gradients, moved, same

from gan_vkd.errors import GanVkdError
from gan_vkd.gan.steps import discriminator_loss, generator_loss


def cut(images, centres):
    kept = torch.ones_like(images)
    for image, (y, x) in zip(kept, centres.tolist(), strict=True):
        image[:, max(0, y - 2) : y + 2, max(0, x - 2) : x + 2] = 0
    return images * kept


def test_d_tells_real_images_numbers_and_the_negative_of_generated_ones():
    own = {"weight": 3.0, "weight_generator": 0.7}
    play = SmallGame({"augself": own}, policies=["translation", "cutout"])
    term = play.game.terms["augself"].eval()  # power iterations stand still

    def shown(images, draws):
        return cut(moved(images, draws["translation"]), draws["cutout"])

    def missed(images, labels, draws, sign):
        change = play.d(shown(images, draws), labels)[1] - play.d(images, labels)[1]
        numbers = {  # a shift of -1, 0, 1 pixels; a centre of 0 to 8
            "translation": (draws["translation"].double() + 1) / 2,
            "cutout": draws["cutout"].double() / SIDE,
        }
        total = 0
        for name, target in numbers.items():
            head = term.heads[name]
            told = change @ head.weight.T + head.bias
            total = total + (told - sign * target).square().mean()
        return total

    def fake_of(draws):
        return play.g(draws.latents, draws.labels)

    loss, scalars, _ = discriminator_loss(play.game, play.real, play.of_d, 0, 0)
    d, real, fake = play.of_d, play.real, fake_of(play.of_d).detach()
    logits = play.d(shown(real.images, d.real), real.labels)[0]
    others = play.d(shown(fake, d.fake), d.labels)[0]
    hinge = (1 - logits).clamp(min=0).mean() + (1 + others).clamp(min=0).mean()
    of_real = missed(real.images, real.labels, d.real, 1)
    of_fake = missed(fake, d.labels, d.fake, -1)
    expected = hinge + 3 * (of_real + of_fake)
    assert torch.allclose(scalars["augself_real"], of_real)
    assert torch.allclose(scalars["augself_fake"], of_fake)
    assert torch.allclose(loss, expected)
    for network in (play.d, term):
        assert same(gradients(loss, network), gradients(expected, network))

    g = play.of_g
    loss, _ = generator_loss(play.game, g)
    fake = fake_of(g)
    gap = missed(fake, g.labels, g.fake, 1) - missed(fake, g.labels, g.fake, -1)
    expected = -play.d(shown(fake, g.fake), g.labels)[0].mean() + 0.7 * gap
    assert torch.allclose(loss, expected)
    assert same(gradients(loss, play.g), gradients(expected, play.g))
    assert all(p.requires_grad for p in term.parameters())


def test_without_numbers_to_tell_it_is_refused():
    with pytest.raises(GanVkdError, match="add --augment color,translation,cutout"):
        SmallGame({"augself": {}})
