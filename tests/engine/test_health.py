import math
import re
from dataclasses import replace

import pytest
import torch

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.engine.health import Health, device_explained
from gan_vkd.engine.loop import train
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET


@pytest.fixture(scope="module")
def data():
    return split_training(load_dataset("digits", image_size=16, channels=3), 0.1, "balanced", 0)


@pytest.fixture
def task(data) -> GanTask:
    sets = ("training.batch_size=8", "training.precision=fp32", "training.iterations=6")
    sets += ("training.log_every=1", "training.checkpoint_every=100", "training.d_steps=1")
    rates = ("training.d_lr=1e-9", "training.g_lr=1e-9")
    layers = [("preset", preset_layer("tiny")), ("set", set_layer((*sets, *rates)))]
    return GanTask(resolve(layers), data, None, torch.device("cpu"))


def stopped(task: GanTask, folder, start: int = 0) -> str:
    with pytest.raises(GanVkdError) as caught:
        train(task, RunDir(folder), start=start, deadline=math.inf, reporter=QUIET)
    return str(caught.value)


def test_a_dead_discriminator_stops_the_run_after_three_log_lines(task, tmp_path):
    with torch.no_grad():  # the last ReLU passes nothing any more
        task.discriminator.blocks[-1].shortcut.bias.fill_(-1e3)
    line = stopped(task, tmp_path)
    assert re.search("the discriminator is dead at iteration 3: logit_std_train is .+, below", line)
    assert "there is no checkpoint yet" in line


def test_a_collapsed_generator_stops_the_run_after_three_log_lines(task, tmp_path):
    with torch.no_grad():
        task.generator.to_rgb.weight.zero_()
    line = stopped(task, tmp_path)
    assert re.search("the generator has collapsed at iteration 3: spread is [0-9.e-]+, below", line)


@pytest.mark.parametrize(("network", "name"), [("discriminator", "d"), ("generator", "g")])
def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is(task, tmp_path, network, name):
    train(task, RunDir(tmp_path), start=0, deadline=math.inf, reporter=QUIET)
    bias = getattr(task, network).linear.bias
    bias.register_hook(lambda gradient: gradient * math.inf)
    task.schedule = replace(task.schedule, iterations=9)
    line = stopped(task, tmp_path, start=6)
    assert re.search(f"{name}_gradient is (nan|inf) at iteration 7; ", line)
    assert "the last good checkpoint is of iteration 6" in line
    assert RunDir(tmp_path).checkpoints.iterations() == [6]


def test_a_gradient_is_looked_at_before_a_checkpoint_too(task, tmp_path):
    """Though no log line is due."""
    task.discriminator.linear.bias.register_hook(lambda gradient: gradient * math.inf)
    task.schedule = replace(task.schedule, log_every=100, checkpoint_every=1)
    assert "d_gradient is" in stopped(task, tmp_path)


def test_a_state_that_is_not_finite_never_becomes_a_checkpoint(task, tmp_path):
    """Though no log line is due: the time is up at once."""
    with torch.no_grad():
        task.average.to_rgb.bias.fill_(math.nan)
    with pytest.raises(GanVkdError, match=r"an entry of average\.to_rgb\.bias is nan"):
        train(task, RunDir(tmp_path), start=0, deadline=0, reporter=QUIET)
    assert not list(tmp_path.rglob("state.safetensors"))


BAD = {"iteration": 7, "logit_std_train": 0.0, "spread": 1.0}
GOOD = {**BAD, "logit_std_train": 0.3}


def judged(folder, history: list[dict]) -> Health:
    return Health(RunDir(folder), history, GanTask.limits, GanTask.remedy)


def test_two_bad_lines_are_not_three(tmp_path):
    health = judged(tmp_path, [])
    for line in (BAD, BAD, GOOD, BAD, BAD):
        health.check_line(line)
    with pytest.raises(GanVkdError, match="dead"):
        health.check_line(BAD)


def test_a_resumed_run_is_judged_as_if_it_had_not_been_cut(tmp_path):
    with pytest.raises(GanVkdError, match="dead"):
        judged(tmp_path, [GOOD, BAD, BAD]).check_line(BAD)
    judged(tmp_path, [BAD, BAD, GOOD]).check_line(BAD)


def test_out_of_memory_names_the_batch_and_what_to_set(refused, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(GanTask, "iterate", too_large)
    flags = ["--teacher", "none", "--run-dir", tmp_path / "run", "--quiet"]
    line = refused("train", "--preset", "tiny", *flags)
    assert "training.batch_size 32" in line
    assert "--set training.batch_size=16" in line
    assert not (tmp_path / "run").exists()


def test_the_processors_memory_too_and_no_other_error():
    with (
        pytest.raises(GanVkdError, match=r"on the CPU .*a smaller network"),
        device_explained(8, "network"),
    ):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="shapes"), device_explained(8, "network"):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_a_kernel_that_is_not_deterministic_is_named():
    message = "grid_backward does not have a deterministic implementation, but you set ..."
    with (
        pytest.raises(GanVkdError, match="--deterministic: grid_backward"),
        device_explained(8, "network"),
    ):
        raise RuntimeError(message)
