"""A stopped run that goes on ends with the same bits as one that was never stopped."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gan_vkd.config.layers import read_config
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.tensors import read_tensors

BASE = ["train", "--preset", "tiny", "--set", "training.batch_size=16", "--quiet"]


def final_state(run: Path) -> dict:
    return load_file(sorted((run / "checkpoints").iterdir())[-1] / "state.safetensors")


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = final_state(one), final_state(other)
    assert first.keys() == second.keys()
    different = [name for name, tensor in first.items() if not tensor.equal(second[name])]
    assert not different
    (ours, header), (theirs, other_header) = (
        read_tensors(run / "generator.safetensors") for run in (one, other)
    )
    assert header == other_header
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize(
    "normalise", ["whiten-dataset", pytest.param("whiten", marks=pytest.mark.slow)]
)
def test_resumed_run_has_the_same_bits(gan_vkd, tmp_path, normalise):
    flags = [*BASE, "--subset", "0.2", "--normalise", normalise]
    for run, iterations in (("whole", 8), ("cut", 3)):
        result = gan_vkd(*flags, "--iterations", iterations, "--run-dir", tmp_path / run)
        assert result.exit_code == 0, result.output
    result = gan_vkd(
        "train", "--resume", "--run-dir", tmp_path / "cut", "--iterations", 8, "--quiet"
    )
    assert result.exit_code == 0, result.output
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_a_compiled_run_resumes_with_the_same_bits(tmp_path, monkeypatch):
    """In processes of two threads, between which compiled gradients would be added in any order."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    flags = [*BASE, "--subset", "0.2", "--augment", "cutout", "--set", "training.compile=true"]
    on = ["train", "--resume", "--quiet"]
    for run, given in (
        ("whole", [*flags, "--iterations", "6"]),
        ("cut", [*flags, "--iterations", "3"]),
        ("cut", [*on, "--iterations", "6"]),
    ):
        command = [sys.executable, "-m", "gan_vkd", *given, "--run-dir", str(tmp_path / run)]
        subprocess.run(command, check=True)
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    "method",
    [
        "--augment ada --with adaptive:images=64,start=0.4 --with apa:images=64,start=0.4",
        "--augment cutout --with diggan:weight=1 --with augself --with lecam:start=2 --with san",
        "--loss relativistic --with r1 --with r2 --with zcr --with bcr --with mode-seeking",
        '--loss relativistic --with r1:gamma={"first":1,"last":0,"iterations":4} '
        '--set training.d_lr={"first":1e-3,"last":1e-4,"iterations":4} '
        '--set training.beta2={"first":0.9,"last":0.99,"iterations":4} '
        '--set training.ema_half_life={"first":0,"last":3,"iterations":4}',
        "--with chain:start=1,speed=0.3,target=-0.9 --with apa:images=64,start=0.4",
    ],
)
def test_methods_of_the_field_resume_with_the_same_bits(gan_vkd, tmp_path, method):
    flags = [*BASE, "--subset", "0.2", "--teacher", "none", *method.split()]
    for run, iterations in (("whole", 5), ("cut", 3)):  # 3: amid ADA's four steps of D
        result = gan_vkd(*flags, "--iterations", iterations, "--run-dir", tmp_path / run)
        assert result.exit_code == 0, result.output
    on = ["train", "--resume", "--run-dir", tmp_path / "cut", "--iterations", 5, "--quiet"]
    result = gan_vkd(*on)
    assert result.exit_code == 0, result.output
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")


PROJECTED = "projected:backbone=random:test_efficientnet,channels=2"


def test_a_projected_discriminator_resumes_with_the_same_bits(gan_vkd, refused, tmp_path):
    flags = [*BASE, "--subset", "0.2", "--discriminator", PROJECTED]
    flags += ["--teacher", "random:test_efficientnet"]
    for run, iterations in (("whole", 5), ("cut", 3)):
        result = gan_vkd(*flags, "--iterations", iterations, "--run-dir", tmp_path / run)
        assert result.exit_code == 0, result.output
    on = ["train", "--resume", "--run-dir", tmp_path / "cut", "--iterations", 5, "--quiet"]
    result = gan_vkd(*on)
    assert result.exit_code == 0, result.output
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")
    saved = [name for name in final_state(tmp_path / "cut") if name.startswith("d.discriminator.")]
    assert {name.split(".")[2] for name in saved} == {"heads", "frozen"}
    assert [name for name in saved if "frozen" in name] == ["d.discriminator.frozen._extra_state"]

    config = tmp_path / "cut" / "config.yaml"
    before = config.read_text()
    for setting, message in (
        ("backbone: random:test_efficientnet", "trained on other frozen features"),
        ("spec: random:test_efficientnet", "--teacher random:test_efficientnet_gn: other weights"),
    ):
        assert before.count(setting) == 1
        config.write_text(before.replace(setting, f"{setting}_gn"))
        assert message in refused(*on[:-3], "--iterations", 6)


def test_kd_dlgan_and_vision_aided_heads_resume_with_the_same_bits(gan_vkd, tmp_path):
    """The heads begin to play where the run was cut."""
    flags = [*BASE, "--subset", "0.2", "--teacher", "random:test_efficientnet"]
    flags += ["--with", "kd-dlgan:form=paper"]
    flags += ["--with", "vision-aided:backbone=random:test_efficientnet,start=3"]
    for run, iterations in (("whole", 5), ("cut", 3)):
        result = gan_vkd(*flags, "--iterations", iterations, "--run-dir", tmp_path / run)
        assert result.exit_code == 0, result.output
    on = ["train", "--resume", "--run-dir", tmp_path / "cut", "--iterations", 5, "--quiet"]
    assert gan_vkd(*on).exit_code == 0
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")
    state = final_state(tmp_path / "cut")
    assert state["d.terms.kd-dlgan.texts"].any()


@contextmanager
def started(*command: object) -> Iterator[subprocess.Popen]:
    """A process that hears SIGINT even if the tests run in the background; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_the_run_goes_on_with_the_same_bits(gan_vkd, tmp_path, number):
    run = tmp_path / "cut"
    flags = [*BASE, "--teacher", "none", "--subset", "0.2", "--set", "training.log_every=1"]
    log = run / "log.jsonl"
    with started("-m", "gan_vkd", *flags, "--iterations", 100_000, "--run-dir", run) as process:
        while not (log.exists() and log.read_text().count("\n") >= 3):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
    done = json.loads(log.read_text().splitlines()[-1])["iteration"]

    total = done + 3
    result = gan_vkd("train", "--resume", "--run-dir", run, "--iterations", total, "--quiet")
    assert result.exit_code == 0, result.output
    gan_vkd(*flags, "--iterations", total, "--run-dir", tmp_path / "whole")
    assert_same_bits(tmp_path / "whole", run)
    iterations = [json.loads(line)["iteration"] for line in log.read_text().splitlines()]
    assert iterations == list(range(1, total + 1))


def test_time_limit_saves_and_says_how_to_go_on(gan_vkd, tmp_path):
    flags = [*BASE[:-1], "--teacher", "none", "--iterations", "100000"]
    result = gan_vkd(*flags, "--run-dir", tmp_path / "run", "--time-limit", "8s")
    assert result.exit_code == 0
    assert "Time is up" in result.stderr
    assert "--resume" in result.stderr
    assert (tmp_path / "run" / "generator.safetensors").exists()


def test_killed_before_any_checkpoint_starts_again_at_zero(gan_vkd, tmp_path):
    run = tmp_path / "run"
    gan_vkd(*BASE, "--teacher", "none", "--iterations", 2, "--run-dir", run)
    for path in (run / "checkpoints").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in (run / "checkpoints").iterdir():
        path.rmdir()
    result = gan_vkd("train", "--resume", "--run-dir", run)
    assert result.exit_code == 0, result.output
    assert "No checkpoint yet: starting at iteration 0" in result.stderr


def test_the_last_three_checkpoints_are_kept(gan_vkd, tmp_path):
    run = tmp_path / "run"
    every = ["--set", "training.checkpoint_every=1", "--teacher", "none"]
    gan_vkd(*BASE, *every, "--iterations", 5, "--run-dir", run)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        f"{i:08d}" for i in (3, 4, 5)
    ]


def test_flags_that_contradict_the_run_are_refused(refused, digits_run):
    line = refused("train", "--resume", "--run-dir", digits_run, "--seed", 5)
    assert "training.seed" in line
    line = refused("train", "--resume", "--run-dir", digits_run, "--preset", "lab")
    assert "--resume" in line


FAULTS = Path(__file__).resolve().parents[1] / "faults.py"


def log_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    clocks = ("images_per_second", "seconds")
    return [{key: line[key] for key in line if key not in clocks} for line in lines]


def test_killed_in_a_step_and_its_newest_checkpoint_damaged(gan_vkd, tmp_path):
    """SIGKILL leaves no time for anything; then the disk lost a bit."""
    flags = [*BASE, "--teacher", "none", "--subset", "0.2", "--iterations", "9"]
    flags += ["--set", "training.log_every=1"]
    flags += ["--set", "training.checkpoint_every=2"]
    cut = tmp_path / "cut"
    command = [sys.executable, str(FAULTS), "kill-at=7", *flags, "--run-dir", str(cut)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    newest = cut / "checkpoints" / "00000006" / "state.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    moved = cut.rename(tmp_path / "moved")

    result = gan_vkd("train", "--resume", "--run-dir", moved)
    assert result.exit_code == 0, result.output
    assert "00000006 is damaged" in result.stderr
    assert "going back to iteration 4" in result.stderr
    assert gan_vkd(*flags, "--run-dir", tmp_path / "whole").exit_code == 0
    assert_same_bits(tmp_path / "whole", moved)
    assert log_of(moved) == log_of(tmp_path / "whole")


def test_a_second_process_on_the_run_is_refused(refused, digits_run):
    with RunDir(digits_run).lock():
        line = refused("train", "--resume", "--run-dir", digits_run)
    assert f"--run-dir {digits_run}: another process is training this run" in line


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_second_signal_ends_it_at_once(tmp_path, number):
    run = tmp_path / "run"
    flags = [*BASE, "--teacher", "none", "--set", "training.log_every=1", "--iterations", "100000"]
    with started(FAULTS, "slow-save", *flags, "--run-dir", run) as process:
        while not ((run / "log.jsonl").exists() and (run / "log.jsonl").read_text()):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):  # it is saving
            process.wait(timeout=2)
        process.send_signal(number)
        assert process.wait(timeout=20) == -number


def test_more_iterations_behind_it_than_asked_for(refused, digits_run):
    line = refused("train", "--resume", "--run-dir", digits_run, "--iterations", 5)
    assert "--iterations 5" in line
    assert "12" in line


def test_paths_are_kept_whole_and_data_that_moved_is_named(
    gan_vkd, refused, make_folder, tmp_path, monkeypatch
):
    images = make_folder({"a": 4, "b": 4}, name="photographs")
    monkeypatch.chdir(tmp_path)
    flags = ["--teacher", "none", "--iterations", 1, "--run-dir", "run"]
    data = ["--dataset", "photographs"]
    assert gan_vkd(*BASE, *data, *flags).exit_code == 0
    monkeypatch.chdir(images)
    run = tmp_path / "run"
    on = ["train", "--resume", "--run-dir", run, "--quiet"]
    assert gan_vkd(*on, "--iterations", 2).exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert gan_vkd(*on, *data, "--iterations", 3).exit_code == 0  # the same data, said again
    images.rename(tmp_path / "elsewhere")
    line = refused(*on)
    assert f"{images} is missing" in line
    assert "config.yaml (data.dataset)" in line
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("/photographs", "/elsewhere"))
    assert gan_vkd(*on).exit_code == 0


def test_deterministic_is_part_of_the_recipe_and_turned_on(tmp_path):
    code = (
        "import torch\nfrom gan_vkd.cli import cli\n"
        "try: cli()\nfinally: print(torch.are_deterministic_algorithms_enabled())"
    )
    flags = ["--deterministic", "--teacher", "none", "--iterations", "1", "--run-dir"]
    command = [sys.executable, "-c", code, *BASE, *flags, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
    assert read_config(tmp_path / "run").training.deterministic
