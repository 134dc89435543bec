import torch

from gan_vkd.gan.losses import hinge_discriminator, hinge_generator


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.5])
    d_real, d_fake = hinge_discriminator(real, fake)
    assert d_real == (0 + 0.5) / 2
    assert d_fake == (0 + 1.5) / 2
    assert hinge_generator(fake) == 1.25
