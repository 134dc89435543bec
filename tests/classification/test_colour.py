import torch

from gan_vkd.classification.colour import GAIN, GREY, OFFSET, TINTED, draw_colours, recolour

COUNT = 4_000


def test_draws_are_functions_of_seed_and_step():
    assert torch.equal(draw_colours(9, 3, 0), draw_colours(9, 3, 0))
    assert not torch.equal(draw_colours(9, 3, 0), draw_colours(9, 4, 0))
    assert not torch.equal(draw_colours(9, 3, 0), draw_colours(9, 3, 1))


def test_as_many_images_as_said_change_and_no_more_than_said():
    grey, gain, offset = draw_colours(COUNT, 0, 0).split((1, 3, 3), dim=1)
    assert set(grey.flatten().tolist()) == {0, 1}
    assert abs(grey.mean() - GREY) < 0.03
    tinted = (gain != 1).all(dim=1)
    assert abs(tinted.float().mean() - TINTED) < 0.03
    assert (offset[~tinted] == 0).all()
    assert (gain[~tinted] == 1).all()
    for change, reach in ((gain - 1, GAIN), (offset, OFFSET)):
        assert 0.98 * reach < change.max() <= reach
        assert -reach <= change.min() < -0.98 * reach
    one, other = (gain[tinted] - 1).T[:2]
    assert torch.corrcoef(torch.stack([one, other]))[0, 1].abs() < 0.1  # a cast, not brightness


def test_recolouring():
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain = [1.0, 1, 1, 0, 0, 0]
    tint = [1.2, 0.8, 1, 0.1, 0, -0.1]
    draws = torch.tensor([[0, *plain], [1, *plain], [0, *tint], [1, *tint]])
    same, grey, tinted, both = recolour(images, draws)
    assert torch.equal(same, images[0])
    luma = torch.tensor([0.299, 0.587, 0.114])
    expected = torch.einsum("chw,c->hw", images[1], luma)
    assert torch.allclose(grey, expected.expand(3, -1, -1), atol=1e-6)
    assert (grey[0] == grey[1]).all()
    red, green, blue = images[2]
    by_hand = torch.stack([1.2 * red + 0.1, 0.8 * green, blue - 0.1]).clamp(-1, 1)
    assert torch.allclose(tinted, by_hand, atol=1e-6)
    assert tinted.abs().max() == 1  # some values leave the range without the clamp
    assert (both[0] - both[2]).abs().max() > 0.1
