"""Commands under PyTorch's own launcher: two processes, deaths, other numbers of them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_vkd.tensors import read_tensors

BASE = ["train", "--preset", "tiny", "--subset", "0.2", "--set", "training.batch_size=12"]
BASE += ["--set", "training.log_every=1", "--set", "training.precision=fp32"]
BASE += ["--set", "training.eval_every=0", "--normalise", "whiten"]
SLOWLY = ["--set", "training.g_lr=1e-4", "--set", "training.d_lr=1e-4"]
DEATHS = 10
ROOT = Path(__file__).resolve().parents[1]


def started(count: int, *arguments: object) -> subprocess.Popen:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [
        "--nproc-per-node",
        str(count),
        "-m",
        "--",
    ]  # or torchrun takes --num
    command = [*launcher, "gan_vkd", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def ended(process: subprocess.Popen) -> tuple[int, str, list[str]]:
    """Its exit code, what it prints, and the lines of errors; torchrun's own report left out."""
    out, err = process.communicate(timeout=3600)
    return process.returncode, out, [line for line in err.splitlines() if line.startswith("Error")]


def weights(run: Path, iteration: int) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / f"{iteration:08d}" / "state.safetensors")[0]


def difference(one: dict, other: dict) -> float:
    """Relative, over the weights and buffers of D, G, the average and the terms."""
    assert one.keys() == other.keys()
    names = [name for name in one if "adam." not in name]
    missed = sum((one[name].double() - other[name]).square().sum() for name in names)
    return (missed / sum(other[name].double().square().sum() for name in names)).sqrt().item()


def iterations_of(run: Path) -> list[int]:
    if not (run / "log.jsonl").exists():
        return []
    lines = (run / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["iteration"] for line in lines]


def test_two_processes_of_torchrun_train_like_one(gan_vkd, tmp_path):
    flags = [*BASE, *SLOWLY, "--teacher", "none", "--with", "lecam:start=2", "--iterations", 6]
    two, one = tmp_path / "two", tmp_path / "one"
    assert ended(started(2, *flags, "--run-dir", two)) == (0, f"{two}\n", [])
    for name in ("config.yaml", "generator.safetensors", "data.json"):
        assert (two / name).is_file()
    assert gan_vkd(*flags, "--run-dir", one, "--quiet").exit_code == 0
    assert iterations_of(two) == iterations_of(one) == list(range(1, 7))
    assert difference(weights(two, 6), weights(one, 6)) < 1e-3


@pytest.mark.slow
def test_three_processes_sample_and_evaluate_like_one(gan_vkd, digits_run, tmp_path):
    """100 images in shares of 33, 33 and 34; what is already there is refused once."""
    flags = ["sample", digits_run, "--num", 100, "--out"]
    for name in ("three.npz", "three"):
        out = tmp_path / name
        assert ended(started(3, *flags, out, "--quiet")) == (0, f"{out}\n", [])
    assert gan_vkd(*flags, tmp_path / "one.npz", "--quiet").exit_code == 0
    ours, one = (dict(np.load(tmp_path / f"{count}.npz")) for count in ("three", "one"))
    assert ours.keys() == one.keys()
    assert (ours["labels"] == one["labels"]).all()
    steps = np.abs(ours["images"].astype(int) - one["images"])
    assert steps.max() <= 1  # batches of another size round otherwise
    assert steps.mean() < 0.01
    files = sorted((tmp_path / "three").rglob("*.png"))
    for file, image in zip(files, ours["images"], strict=True):
        assert (np.asarray(Image.open(file).convert("RGB")) == image).all()
    code, out, errors = ended(started(3, *flags, tmp_path / "three.npz", "--quiet"))
    assert (code != 0, out, len(errors)) == (True, "", 1)
    assert "already exists" in errors[0]

    assert gan_vkd("eval", digits_run, "--num", 100, "--quiet").exit_code == 0
    (place,) = (digits_run / "eval").glob("*.json")
    one = json.loads(place.read_text())["metrics"]
    place.unlink()
    assert ended(started(3, "eval", digits_run, "--num", 100, "--quiet"))[0] == 0
    for name, metric in json.loads(place.read_text())["metrics"].items():
        assert metric["value"] == pytest.approx(one[name]["value"], rel=0.02, abs=0.02), name
    code, _, errors = ended(started(3, "eval", digits_run, "--num", 3, "--quiet"))
    assert (code != 0, len(errors)) == (True, 1)


def test_two_processes_train_a_classifier_like_one(gan_vkd, tmp_path):
    flags = ["classify", "--dataset", "digits", "--subset", "0.2", "--size", 16]
    flags += ["--student", "resnet8", "--method", "vkd", "--epochs", 1]
    flags += ["--teacher", "efficientnet-lite0", "--set", "training.checkpoint_every=15"]
    flags += ["--set", "training.batch_size=16", "--set", "training.lr=0.001"]
    runs = {name: tmp_path / name for name in ("one", "two")}
    assert ended(started(2, *flags, "--run-dir", runs["two"])) == (0, f"{runs['two']}\n", [])
    assert gan_vkd(*flags, "--run-dir", runs["one"], "--quiet").exit_code == 0
    states = {name: weights(run, 23) for name, run in runs.items()}
    assert difference(states["two"], states["one"]) < 1e-3
    found = {name: json.loads((run / "result.json").read_text()) for name, run in runs.items()}
    assert found["two"]["last"] == pytest.approx(found["one"]["last"], rel=1e-2)

    shutil.rmtree(runs["two"] / "checkpoints" / "00000023")  # goes on in one process
    resumed = gan_vkd("classify", "--resume", "--run-dir", runs["two"], "--quiet")
    assert resumed.exit_code == 0, resumed.output
    assert difference(weights(runs["two"], 23), states["two"]) < 1e-3
    code, out, errors = ended(started(3, *flags, "--set", "training.batch_size=2"))
    assert (code != 0, out, len(errors)) == (True, "", 1)
    assert "--nproc-per-node 2" in errors[0]


@pytest.mark.parametrize("command", ["report", "bench", "teacher"])
def test_commands_for_one_process_say_so_once(command, gan_vkd, refused, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    assert f"{command} runs in one process: start it without torchrun" in refused(command, "x")
    monkeypatch.setenv("RANK", "2")
    result = gan_vkd(command, "x")
    assert (result.exit_code, result.output) == (2, "")


def workers(process: subprocess.Popen) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def wait_for(run: Path, iteration: int, process: subprocess.Popen) -> None:
    while max(iterations_of(run), default=0) < iteration:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_signal_to_torchrun_saves_and_a_death_ends_all_with_a_line(tmp_path):
    run = tmp_path / "run"
    flags = [*BASE, "--teacher", "none", "--iterations", 100_000, "--run-dir", run]
    process = started(2, *flags)
    wait_for(run, 2, process)
    process.terminate()
    _, _, errors = ended(process)
    assert errors == []
    assert (run / "checkpoints" / f"{iterations_of(run)[-1]:08d}").is_dir()

    process = started(2, "train", "--resume", "--run-dir", run)
    wait_for(run, iterations_of(run)[-1] + 2, process)
    os.kill(workers(process)[1], signal.SIGKILL)
    code, _, errors = ended(process)
    assert code != 0
    (line,) = errors
    assert "another of the 2 processes is lost (it has ended)" in line
    assert f"continue with gan-vkd train --resume --run-dir {run}" in line


@pytest.mark.slow
def test_ten_random_deaths_and_other_numbers_of_processes(gan_vkd, tmp_path):
    """Each death ends 1, 2 or 3 processes; as many others go on."""
    total, draw = 4 * (DEATHS + 1), random.Random(0)
    flags = [*BASE, *SLOWLY, "--set", "training.checkpoint_every=2", "--iterations", total]
    flags += ["--set", "distill.weight=null", "--set", "distill.ratio=0.5", "--with", "lecam"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert gan_vkd(*flags, "--quiet", "--run-dir", whole).exit_code == 0
    process = started(2, *flags, "--run-dir", broken)
    for death in range(1, DEATHS + 1):
        wait_for(broken, 4 * death, process)
        time.sleep(draw.random())
        os.kill(draw.choice(workers(process)), signal.SIGKILL)
        assert ended(process)[0] != 0
        process = started(1 + death % 3, "train", "--resume", "--run-dir", broken)
    assert ended(process)[0] == 0
    assert iterations_of(broken) == list(range(1, total + 1))
    found = difference(weights(broken, total), weights(whole, total))
    print(f"relative difference after {DEATHS} deaths: {found:.2g}")
    assert found < 1e-3
