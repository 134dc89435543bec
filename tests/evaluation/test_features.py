import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import pytest
import torch

from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation import features as module
from gan_vkd.evaluation.features import (
    BATCH,
    BUNDLED,
    Extractor,
    bundled_names,
    bundled_path,
    extract,
    load_extractor,
)
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """An extractor that counts its calls, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def run(images):
        calls.append(len(images))
        flat = images.flatten(1).float()
        return flat[:, :4], flat[:, :2]

    return Extractor("counted", "0" * 64, torch.device("cpu"), run), calls


def noise(count: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=draws)


def test_features_come_once_in_order_and_by_content(counted):
    extractor, calls = counted
    images = noise(BATCH + 3)
    first = extract(extractor, images, "images", QUIET)
    assert calls == [BATCH, 3]
    assert torch.equal(first.features, images.flatten(1)[:, :4].float())
    again = extract(extractor, images.clone(), "images", QUIET)
    assert len(calls) == 2
    assert torch.equal(again.features, first.features)
    changed = images.clone()
    changed[5, 0, 0, 0] ^= 1
    extract(extractor, changed, "images", QUIET)
    extract(
        Extractor("counted", "1" * 64, extractor.device, extractor.run), images, "images", QUIET
    )
    assert len(calls) == 6


@contextmanager
def lower_precision():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@contextmanager
def updated(library: str):
    with pytest.MonkeyPatch.context() as patch:
        if library == "gan_vkd":
            patch.setattr(module, "__version__", "9.9")
        patch.setattr(module, "version", lambda name: "9.9" if name == library else version(name))
        yield


CHANGES = {
    "precision": lower_precision,
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    **{library: partial(updated, library) for library in ("torch", "timm", "gan_vkd")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_computed_otherwise_is_computed_anew(counted, change):
    extractor, calls = replace(counted[0], libraries=("timm",)), counted[1]
    extract(extractor, noise(3), "images", QUIET)
    with CHANGES[change]():
        extract(extractor, noise(3), "images", QUIET)
        extract(extractor, noise(3), "images", QUIET)
    assert calls == [3, 3]


def test_another_kind_of_device_computes_anew(counted):
    extractor, calls = counted
    extract(extractor, noise(3), "images", QUIET)
    extract(replace(extractor, device=torch.device("cuda:1")), noise(3), "images", QUIET)
    extract(replace(extractor, device=torch.device("cuda:0")), noise(3), "images", QUIET)
    assert calls == [3, 3]


def test_precision_set_by_the_newer_interface_is_no_error(counted):
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("torch before 2.9 has no such interface")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        extract(counted[0], noise(3), "images", QUIET)
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"


def test_a_cache_file_cut_short_is_computed_again(counted, tmp_path):
    extractor, calls = counted
    first = extract(extractor, noise(3), "images", QUIET)
    (entry,) = tmp_path.rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:50])
    again = extract(extractor, noise(3), "images", QUIET)
    assert calls == [3, 3]
    assert torch.equal(again.features, first.features)


def test_features_that_are_not_finite_are_refused_and_not_kept(counted, tmp_path):
    def run(images):
        return images.flatten(1)[:, :4].float() / 0.0, None

    broken = Extractor("broken", "0" * 64, CPU, run)
    with pytest.raises(GanVkdError, match="--extractor broken: its features of images"):
        extract(broken, noise(3), "images", QUIET)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_two_processes_may_fill_the_cache_at_once(tmp_path, monkeypatch):
    """Each writes a whole file of its own and renames it; a reader sees a whole one or none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = """
import torch
from gan_vkd.evaluation.features import extract, load_extractor
from gan_vkd.progress import QUIET
images = torch.arange(3 * 256).repeat(60 * 4).to(torch.uint8).view(-1, 3, 16, 16)
extractor = load_extractor("bundled-1", None, torch.device("cpu"))
for _ in range(3):
    print(extract(extractor, images, "images", QUIET).features.double().sum().item())
    for file in __import__("pathlib").Path(__import__("sys").argv[1]).rglob("*.safetensors"):
        file.unlink(missing_ok=True)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len({value for values in found for value in values}) == 1
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("spec", ["timm:resnet18", "torchvision:resnet18"])
def test_a_teacher_s_weights_from_a_file(spec, tmp_path):
    """The real architecture at random weights, through the real loading code."""
    import timm
    import torchvision

    maker = timm.create_model if spec.startswith("timm") else torchvision.models.get_model
    torch.save(maker("resnet18").state_dict(), tmp_path / "weights.pth")
    extractor = load_extractor(spec, tmp_path / "weights.pth", CPU)
    features, logits = extractor.run(noise(2))
    assert (extractor.name, features.shape, logits) == (spec, (2, 512), None)
    torch.save(maker("resnet18").state_dict(), tmp_path / "other.pth")
    other = load_extractor(spec, tmp_path / "other.pth", CPU)
    assert other.sha256 != extractor.sha256


def test_dinov2_by_its_short_name(tmp_path, monkeypatch):
    """A smaller member of the family at random weights, through the real loading code."""
    import timm

    _, pixels = module.SHORT["dinov2"]
    spec = "timm:vit_small_patch14_dinov2.lvd142m"
    monkeypatch.setattr(module, "SHORT", {"dinov2": (spec, pixels)})
    network = timm.create_model("vit_small_patch14_dinov2").eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    extractor = load_extractor("dinov2", tmp_path / "weights.pth", CPU)
    features, logits = extractor.run(noise(2))
    assert (extractor.name, features.shape, logits) == ("dinov2", (2, 384), None)
    images = torch.nn.functional.interpolate(
        noise(2).float() / 255, (pixels, pixels), mode="bicubic", antialias=True
    )
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    resized = timm.create_model("vit_small_patch14_dinov2", img_size=pixels).eval()
    state = network.state_dict()
    state["pos_embed"] = timm.layers.resample_abs_pos_embed(
        state["pos_embed"], (pixels // 14, pixels // 14), num_prefix_tokens=1
    )
    resized.load_state_dict(state)
    with torch.no_grad():
        tokens = resized.forward_features((images - mean) / std)
    assert torch.allclose(features, tokens[:, 0], atol=1e-4)


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_weights_that_are_missing_are_named_in_one_line(name, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(GanVkdError, match="--extractor-weights") as raised:
        load_extractor(name, None, CPU)
    assert "\n" not in str(raised.value)


def test_without_inception_weights_the_bundled_one_is_used_and_named():
    extractor = load_extractor(None, None, CPU)
    assert extractor.name == BUNDLED
    found, logits = extractor.run(noise(2))
    assert found.shape[0] == logits.shape[0] == 2
    assert logits.shape[1] == 100
    with pytest.raises(GanVkdError, match="weights-inception-2015-12-05"):
        load_extractor("inception", None, CPU)


def test_inception_is_torch_fidelitys_own_network(tmp_path):
    """Random weights of the real architecture, through the real loading code."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no network")),
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="x")
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    extractor = load_extractor(None, path, CPU)
    assert extractor.name == "inception"
    found, logits = extractor.run(noise(2))
    assert found.shape == (2, 2048)
    assert logits.shape == (2, 1008)
    assert torch.allclose(found, network(noise(2))[0])


def test_foreign_inception_files_run_no_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "weights.pth"
    torch.save({"x": Payload()}, path)
    with pytest.raises(GanVkdError, match="not torch-fidelity's Inception weights"):
        load_extractor(None, path, CPU)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(GanVkdError, match="no such file"):
        load_extractor(None, tmp_path / "nothing", CPU)


def test_evaluators_that_ship_are_small_and_load_by_name(tmp_path):
    assert {"bundled-1", BUNDLED} <= set(bundled_names())
    for name in bundled_names():
        assert bundled_path(name).stat().st_size <= 5_000_000
        extractor = load_extractor(name, None, CPU)
        assert extractor.name == name
        assert extractor.run(noise(2))[1].shape == (2, 100)
        with pytest.raises(GanVkdError, match=f"contradicts --extractor {name}"):
            load_extractor(name, bundled_path(name), CPU)
    with pytest.raises(GanVkdError, match="inception, bundled-1"):
        load_extractor("bundled-0", None, CPU)


def test_a_fitted_classifier_is_a_judge(tmp_path):
    model = SmallResNet(("a", "b"), 8, (4, 6), (2,)).eval()
    path = tmp_path / "second.safetensors"
    save_classifier(model, path, {})
    features, logits = load_extractor(f"file:{path}", None, CPU).run(noise(3))
    assert logits is None
    assert torch.allclose(features, model.features(noise(3) / 127.5 - 1), atol=1e-2)  # fp16 file


def test_results_do_not_depend_on_the_batch_an_image_is_in():
    extractor = load_extractor(None, None, CPU)
    images = noise(module.BATCH)
    whole, _ = extractor.run(images)
    alone, _ = extractor.run(images[7:8])
    assert torch.allclose(whole[7:8], alone, atol=1e-4)
