import torch

from gan_vkd.gan.ema import average_of, update_average
from gan_vkd.gan.networks.biggan import Generator


def test_average_follows_its_formula_and_leaves_buffers_alone():
    model = Generator(num_classes=2, image_size=16, channels=2, z_dim=4)
    average = average_of(model)
    before = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(1)
    update_average(average, model, 0.75)
    parameters = dict(average.named_parameters())
    for name, tensor in average.state_dict().items():
        expected = before[name] + 0.25 if name in parameters else before[name]
        assert torch.allclose(tensor, expected, atol=1e-6), name
    assert not any(p.requires_grad for p in average.parameters())


def test_decay_zero_is_a_copy():
    model = Generator(num_classes=2, image_size=16, channels=2, z_dim=4)
    average = average_of(Generator(num_classes=2, image_size=16, channels=2, z_dim=4))
    update_average(average, model, 0.0)
    for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
