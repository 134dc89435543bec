import torch

from gan_vkd.gan.losses.hinge import HingeLoss


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.5])
    assert HingeLoss().discriminator(real, fake) == {
        "d_real": (0 + 0.5) / 2,
        "d_fake": (0 + 1.5) / 2,
    }
    assert HingeLoss().generator(fake) == {"g": 1.25}
