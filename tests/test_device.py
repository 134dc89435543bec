"""What torch answers about a machine is made up here: no test machine has all of these."""

from types import SimpleNamespace

import pytest
import torch

from gan_vkd.device import autocast, pick_device, resolve_precision, to_float64
from gan_vkd.errors import GanVkdError

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda:1", "mps"))


@pytest.mark.parametrize(("there", "picked"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_the_gpu_where_there_is_one(there, picked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)  # only by its name
    assert pick_device("auto") == torch.device(picked)


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "meta", "hpu", "xla", ""])
def test_a_device_that_cannot_compute_is_one_clear_line(name):
    with pytest.raises(GanVkdError, match=f"--device {name}: not available on this machine"):
        pick_device(name)
    assert pick_device("cpu") == CPU


def of_process(number: int, monkeypatch, gpus: int) -> list[int]:
    """This is that one of two processes of torchrun; returns which GPUs it makes its own."""
    taken = []
    for name, value in (("WORLD_SIZE", 2), ("LOCAL_WORLD_SIZE", 2), ("LOCAL_RANK", number)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: taken.append(device.index))
    return taken


@pytest.mark.parametrize("number", [0, 1])
def test_each_process_of_torchrun_takes_a_gpu_of_its_own(number, monkeypatch):
    taken = of_process(number, monkeypatch, gpus=2)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", number)
    assert taken == [number, number]
    assert pick_device("cpu") == CPU


def test_processes_without_gpus_of_their_own(monkeypatch):
    of_process(0, monkeypatch, gpus=0)
    assert pick_device("auto") == CPU
    of_process(0, monkeypatch, gpus=1)
    for name in ("auto", "cuda"):  # both processes say so, not the second alone
        with pytest.raises(GanVkdError, match="2 processes on a machine with 1 GPUs"):
            pick_device(name)
    for name in ("cuda:1", "mps"):
        with pytest.raises(GanVkdError, match=f"--device {name}: each process of torchrun"):
            pick_device(name)


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((12, 0), "bf16")]
)
def test_auto_is_bf16_on_gpus_that_have_it(capability, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability
    )
    assert resolve_precision("auto", CUDA) == expected
    assert asked == [CUDA]
    assert resolve_precision("bf16", CUDA) == "bf16"  # emulated, but asked for


@pytest.mark.parametrize(("answer", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_on_processors_that_have_it(answer, expected, monkeypatch):
    mkldnn = SimpleNamespace(_is_mkldnn_bf16_supported=lambda: answer)
    monkeypatch.setattr(torch.ops, "mkldnn", mkldnn)
    assert resolve_precision("auto", CPU) == expected


def _fails():
    raise RuntimeError("built without mkldnn")


@pytest.mark.parametrize("mkldnn", [{}, {"_is_mkldnn_bf16_supported": _fails}])
def test_a_torch_that_cannot_tell_computes_in_fp32(mkldnn, monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**mkldnn))
    assert resolve_precision("auto", CPU) == "fp32"


def test_auto_is_fp32_where_nothing_is_known(monkeypatch):
    mkldnn = SimpleNamespace(_is_mkldnn_bf16_supported=lambda: True)  # the processor's answer
    monkeypatch.setattr(torch.ops, "mkldnn", mkldnn)
    assert resolve_precision("auto", MPS) == "fp32"


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float)])
def test_networks_run_in_the_precision_asked_for(precision, dtype):
    with torch.autocast("cpu", torch.bfloat16), autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_float64_is_computed_on_the_cpu_where_the_device_has_none():
    values = torch.tensor([1.5, 2])
    assert to_float64(values).dtype == torch.float64
    elsewhere = SimpleNamespace(device=MPS, cpu=lambda: values)
    assert torch.equal(to_float64(elsewhere), values.double())
