import socket
import time

import pytest
import torch
from safetensors.torch import save_file

from gan_vkd.distill import weights
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.distill.weights import read_weights
from gan_vkd.errors import GanVkdError


class Payload:
    """Pickles into a call that leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_the_content_tells_what_a_file_is(save, name, tmp_path):
    save(STATE, tmp_path / name)
    read = read_weights(tmp_path / name)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_never_runs(name, zipped, tmp_path):
    trace = tmp_path / "ran"
    torch.save(
        {**STATE, "c": Payload(trace)}, tmp_path / name, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(GanVkdError, match=f"{name}: .* code in a file is never run"):
        read_weights(tmp_path / name)
    assert not trace.exists()
    with (tmp_path / name).open("rb") as file:
        torch.load(file, weights_only=False)
    assert trace.exists()  # the payload is a real one


@pytest.mark.parametrize("save", [save_file, torch.save])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_files(save, share, tmp_path):
    path = tmp_path / "w"
    save({"a": torch.rand(100, 100)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(GanVkdError, match=f"{path}: (not a whole|damaged)"):
        read_weights(path)


def test_missing_and_empty_states(tmp_path):
    with pytest.raises(GanVkdError, match="no such file"):
        read_weights(tmp_path / "w")
    with pytest.raises(GanVkdError, match="--teacher-weights"):
        read_weights(tmp_path)
    for content in ([torch.ones(2)], {"a": 3}, torch.ones(2)):
        torch.save(content, tmp_path / "w")
        with pytest.raises(GanVkdError, match="holds no state dict"):
            read_weights(tmp_path / "w")


NEEDS = {
    "clip": r"model.safetensors of timm/vit_base_patch32_clip_224.openai",
    "timm:regnety_160": "model.safetensors of timm/regnety_160",
    "torchvision:resnet50": r"resnet50-\w+.pth \(kept in",
}


@pytest.mark.parametrize("spec", NEEDS)
def test_without_a_network_the_file_is_named(spec, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    with pytest.raises(GanVkdError, match=f"--teacher {spec}: needs .*{NEEDS[spec]}") as caught:
        load_teacher(spec)
    assert "--teacher-weights FILE" in str(caught.value)
    assert "--teacher efficientnet-lite0" in str(caught.value)


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(weights, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{mute.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(GanVkdError, match="can't be reached"):
            load_teacher("clip")
        assert time.monotonic() - began < 60  # for ever, otherwise


def test_a_file_in_the_cache_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    import torchvision

    url = torchvision.models.get_model_weights("resnet18").DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    place = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    torch.save(torchvision.models.resnet18().state_dict(), place)
    assert load_teacher("torchvision:resnet18", 32).dim == 512
