"""The benchmark's networks: published sizes, and the maps that methods compare."""

import pytest
import torch

from gan_vkd.distill.classifiers import NETWORKS
from gan_vkd.distill.networks.resnet import wrn_40_2

# Parameters with 100 classes, and channels and side of the stem's and the stages' maps at 32
# pixels, of RepDistiller's models (commit 9b56e97).
PUBLISHED = {
    "vgg13": (9_462_180, [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)], 512),
    "vgg8": (3_965_028, [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)], 512),
    "resnet50": (23_705_252, [(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)], 2048),
    "resnet32x4": (7_433_860, [(32, 32), (64, 32), (128, 16), (256, 8)], 256),
    "resnet8x4": (1_233_540, [(32, 32), (64, 32), (128, 16), (256, 8)], 256),
    "resnet20": (278_324, [(16, 32), (16, 32), (32, 16), (64, 8)], 64),
    "resnet8": (83_892, [(16, 32), (16, 32), (32, 16), (64, 8)], 64),
    "wrn-40-2": (2_255_156, [(16, 32), (32, 32), (64, 16), (128, 8)], 128),
    "mobilenetv2": (812_836, [(16, 16), (12, 16), (16, 8), (48, 4), (160, 2)], 1280),
    "shufflenetv1": (949_258, [(24, 32), (240, 16), (480, 8), (960, 4)], 960),
    "shufflenetv2": (1_355_528, [(24, 32), (116, 16), (232, 8), (464, 4)], 1024),
}
LINEAR = ("wrn-40-2", "mobilenetv2")  # whose maps have no ReLU


def test_all_are_listed():
    assert set(NETWORKS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    parameters, maps, dim = PUBLISHED[name]
    network = NETWORKS[name](100).eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    with torch.no_grad():
        outputs = network(torch.randn(2, 3, 32, 32))
    assert [tuple(m.shape[1:3]) for m in outputs.maps] == maps
    assert outputs.pooled.shape == (2, dim)
    assert torch.allclose(outputs.logits, network.head(outputs.pooled))
    for before, after in zip(outputs.preactivations, outputs.maps, strict=True):
        if name not in LINEAR:
            assert torch.equal(before.relu(), after)
            assert (before < 0).any()
        assert before.shape == after.shape


def test_a_wide_networks_preactivations_are_normalised_in_eval_mode_alone():
    network = wrn_40_2(10).eval()
    assert not network.head.bias.any()  # as the benchmark begins
    outputs = network(torch.randn(2, 3, 32, 32))
    last = network.tail(outputs.maps[-1])  # BN, ReLU
    assert torch.allclose(outputs.preactivations[-1].relu(), last)
    assert torch.allclose(last.mean((2, 3)), outputs.pooled)
    network.train()
    counted = network.tail[0].num_batches_tracked.item()
    network(torch.randn(2, 3, 32, 32))
    assert network.tail[0].num_batches_tracked.item() == counted + 1


def test_larger_images_are_taken():
    for name in ("vgg8", "mobilenetv2"):
        assert NETWORKS[name](5)(torch.randn(2, 3, 64, 64)).logits.shape == (2, 5)
