import math

import pytest
import torch

from gan_vkd.gan.losses.relativistic import RelativisticLoss


def test_relativistic_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.5])
    of_d = (math.log1p(math.exp(-5)) + math.log1p(math.exp(1))) / 2
    of_g = (math.log1p(math.exp(5)) + math.log1p(math.exp(-1))) / 2
    assert RelativisticLoss().discriminator(real, fake)["d"].item() == pytest.approx(of_d)
    assert RelativisticLoss().generator(fake, real)["g"].item() == pytest.approx(of_g)
