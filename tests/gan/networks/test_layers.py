import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from gan_vkd.gan.networks.biggan import Generator
from gan_vkd.gan.networks.layers import (
    ConditionalBatchNorm,
    SpectralNorm,
    initialise,
    pooled_conv,
    upsample,
    upsampled_conv,
)


def test_power_iterations_converge_to_the_largest_singular_value():
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3)
    initialise(layer, spectral_norm=True)
    for _ in range(200):
        weight = layer.weight
    norm = torch.linalg.matrix_norm(weight.flatten(1), 2)
    assert torch.allclose(norm, torch.ones(()), atol=1e-4)


def test_eval_mode_does_not_move_the_vector():
    layer = nn.Linear(6, 8)
    initialise(layer, spectral_norm=True)
    layer.eval()
    before = layer.parametrizations.weight[0].u.clone()
    assert torch.equal(layer.weight, layer.weight)
    assert torch.equal(layer.parametrizations.weight[0].u, before)
    layer.train()
    _ = layer.weight
    assert not torch.equal(layer.parametrizations.weight[0].u, before)


def test_gradient_is_that_of_torchs_own_spectral_norm():
    torch.manual_seed(0)  # of some weights the two largest singular values are nearly one
    weight = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    ours = SpectralNorm(weight).double().eval()
    for _ in range(300):
        ours.train()(weight)
    theirs = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(7, 5, bias=False).double())
    with torch.no_grad():
        theirs.parametrizations.weight.original.copy_(weight)
    for _ in range(300):
        theirs.train()(torch.zeros(1, 7, dtype=torch.float64))
    probe = torch.randn(5, 7, dtype=torch.float64)
    (ours.eval()(weight) * probe).sum().backward()
    (theirs.eval().weight * probe).sum().backward()
    expected = theirs.parametrizations.weight.original.grad
    assert torch.allclose(weight.grad, expected, rtol=1e-6, atol=1e-9)


def test_it_stays_in_fp32_under_autocast():
    layer = nn.Linear(6, 8)
    initialise(layer, spectral_norm=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.weight.dtype == torch.float32


def test_modulation_has_no_spectral_norm_and_everything_starts_small():
    generator = Generator(num_classes=50, image_size=16, channels=16, z_dim=16)
    gain = generator.blocks[0].norm1.gain
    assert not parametrize.is_parametrized(gain)
    assert parametrize.is_parametrized(generator.linear)
    for weight in (gain.weight, generator.linear.parametrizations.weight.original):
        assert abs(weight.std().item() - 0.02) < 0.002


def test_conditional_batch_norm_keeps_bf16_under_autocast():
    torch.manual_seed(0)
    layer, labels = ConditionalBatchNorm(6, 3), torch.tensor([0, 1, 2, 1, 0])
    nn.init.normal_(layer.gain.weight)
    x = 3 * torch.randn(5, 6, 4, 4) + 1
    exact = layer(x, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = layer(x.bfloat16(), labels)
    assert exact.dtype == torch.float32
    assert rough.dtype == torch.bfloat16
    assert torch.allclose(rough.float(), exact, rtol=0.03, atol=0.03)
    rough.float().square().sum().backward()
    assert layer.gain.weight.grad.dtype == torch.float32


def test_conditional_batch_norm_by_an_independent_computation():
    layer, labels = ConditionalBatchNorm(2, 3).double(), torch.tensor([0, 1, 2, 1])
    x = torch.randn(4, 2, 3, 3).double()
    mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
    for i, label in enumerate(labels):
        for c in range(2):
            normed = (x[i, c] - mean[c]) / (variance[c] + 1e-5).sqrt()
            expected = normed * (1 + layer.gain.weight[label, c]) + layer.bias.weight[label, c]
            assert torch.allclose(layer(x, labels)[i, c], expected)


@pytest.mark.parametrize(
    ("short", "plain"),
    [
        (upsampled_conv, lambda conv, x: conv(upsample(x))),
        (pooled_conv, lambda conv, x: F.avg_pool2d(conv(x), 2)),
    ],
)
def test_the_short_ways_equal_the_plain_ones_in_value_and_gradients(short, plain):
    conv = nn.Conv2d(3, 5, 3, padding=1)
    initialise(conv, spectral_norm=True)
    conv.double().eval()  # else the second call would see a later power iteration
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    results = []
    for way in (short, plain):
        y = way(conv, x)
        wanted = [x, *conv.parameters()]
        results.append([y, *torch.autograd.grad(y.square().sum(), wanted)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)
