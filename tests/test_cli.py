import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_vkd import __version__
from gan_vkd.evaluation.features import BUNDLED, bundled_names

TINY = ["--preset", "tiny", "--quiet"]
PROJECT = Path(__file__).resolve().parents[1]


def test_version_and_python_m():
    command = [sys.executable, "-m", "gan_vkd", "--version"]
    assert __version__ in subprocess.run(command, capture_output=True, text=True).stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom gan_vkd.cli import cli\n"
        "try: cli(['train', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'timm', 'sklearn', 'numpy', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_importing_the_package_changes_no_global_state():
    code = (
        "import torch\nstate = torch.get_rng_state(), torch.get_num_threads()\n"
        "import gan_vkd, gan_vkd.training.run, gan_vkd.evaluation.judged\n"
        "assert state[0].equal(torch.get_rng_state())\n"
        "assert state[1] == torch.get_num_threads()\n"
        "assert torch.ones(1).mul(1e-40).item() > 0, 'denormals are flushed'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_dry_run_says_all_and_leaves_nothing(gan_vkd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = gan_vkd("train", "--preset", "tiny", "--subset", "0.5", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("digits", "898 images", "10 classes", "efficientnet-lite0", "whiten", "runs/"):
        assert words in result.stderr
    assert "s an iteration" in result.stderr
    assert not list(tmp_path.iterdir())


def test_hints_can_be_pasted_into_a_shell(gan_vkd, refused, tmp_path, monkeypatch):  # CASES 36
    monkeypatch.chdir(tmp_path)
    flags = ["--preset", "tiny", "--teacher", "none", "--subset", "0.1", "--iterations", "1"]
    result = gan_vkd("train", *flags, "--run-dir", "my run")
    assert result.stdout == "my run\n"
    assert "gan-vkd sample 'my run'" in result.stderr
    assert "gan-vkd eval 'my run'" in refused("eval", "--compare", "my run", "my run")
    result = gan_vkd(
        "train", "--resume", "--run-dir", "my run", "--iterations", 9, "--time-limit", "0s"
    )
    assert "gan-vkd train --resume --run-dir 'my run'" in result.stderr


def test_plain_train_is_numbered(gan_vkd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--teacher", "none", "--subset", "0.1", "--iterations", "1"]
    for _ in range(2):
        assert gan_vkd("train", *TINY, *flags).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "00000-digits-0.1-biggan-mode-seeking",
        "00001-digits-0.1-biggan-mode-seeking",
    ]
    result = gan_vkd("sample", "--grid", tmp_path / "grid.png")
    assert "Using the newest run: runs/00001-digits-0.1-biggan-mode-seeking" in result.stderr


def test_the_users_command_ends_in_one_line_without_files_and_network(
    refused, tmp_path, monkeypatch
):
    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    line = refused("train", "--dataset", "cifar100", "--subset", "0.1", "--quiet")
    assert "cifar-100-python.tar.gz" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["lab", "cifar"])
def test_clip_without_its_weights_says_what_to_do(
    refused, make_folder, tmp_path, monkeypatch, preset
):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.chdir(tmp_path)
    root = make_folder({"train/a": 5, "train/b": 5})
    teacher = ["--teacher", "clip"] if preset == "lab" else []  # cifar's default
    line = refused("train", "--dataset", root, "--preset", preset, *teacher, "--quiet")
    assert "--teacher efficientnet-lite0" in line
    assert "--teacher-weights" in line
    assert not (tmp_path / "runs").exists()


LARGE = [pytest.param(spec, marks=pytest.mark.slow) for spec in ("clip", "timm:regnety_160")]


@pytest.mark.parametrize("spec", ["torchvision:resnet50", *LARGE])
def test_cifars_loop_trains_with_every_zoo(gan_vkd, cifar100, save_images, tmp_path, spec):
    """Real images, real architectures with random weights, cifar's loop with narrow networks."""
    import timm
    import torchvision
    from safetensors.torch import save_file

    name = spec.partition(":")[2]
    if spec.startswith("torchvision"):
        model = torchvision.models.get_model(name)
    else:
        model = timm.create_model(name or "vit_base_patch32_clip_quickgelu_224.openai")
    weights, run = tmp_path / "w.safetensors", tmp_path / "run"
    save_file(model.state_dict(), weights)
    for split in ("train", "test"):
        for photographs in ("apple", "whale"):
            images = cifar100(split)[photographs][:8]
            save_images(tmp_path / "photographs" / split / photographs, images)
    teacher = ["--teacher", spec, "--teacher-weights", weights, "--teacher-size", 64]
    small = [("gan.channels", 8), ("training.batch_size", 8), ("training.log_every", 1)]
    sets = [word for name, value in small for word in ("--set", f"{name}={value}")]
    flags = ["--preset", "cifar", "--iterations", 2, "--run-dir", run, "--quiet"]
    result = gan_vkd("train", "--dataset", tmp_path / "photographs", *teacher, *sets, *flags)
    weights.unlink()  # hundreds of megabytes
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2]
    assert all(line["gradient_ratio"] > 0 for line in lines)
    assert str(weights) in (run / "config.yaml").read_text()


def test_a_folder_of_photographs_needs_no_flag(gan_vkd, tmp_path, monkeypatch):
    """Mixed sizes and shapes, no classes; stopped before an hour is spent."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path / "photographs"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(12):
        photograph = Image.fromarray(load_sample_images().images[number % 2])
        width, height = draws.integers(40, 400, 2)
        left, top = draws.integers(0, 640 - width), draws.integers(0, 427 - min(height, 427) + 1)
        cut = photograph.crop((left, top, left + width, top + min(height, 427)))
        cut.save(folder / f"{number}.{('jpg', 'png', 'webp')[number % 3]}")
    monkeypatch.chdir(tmp_path)
    result = gan_vkd("train", "--dataset", folder, "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("lab, the default without a GPU", "1 classes", "efficientnet-lite0"):
        assert words in result.stderr
    result = gan_vkd("train", "--dataset", folder, "--time-limit", "1s")
    assert result.exit_code == 0, result.output
    assert gan_vkd("sample").exit_code == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset", "nowhere"], "--dataset nowhere"),
        (["--teacher", "resnett"], "--teacher resnett"),
        (["--teacher", "timm:resnett50"], "did you mean resnet50"),
        (["--teacher", "clip", "--teacher-weights", "no.pt"], "no.pt: no such file"),
        (["--teacher-weights", "no.pt"], "takes none: drop it"),
        (["--teacher-size", "8"], "teacher.image_size"),
        (["--subset", "2"], "data.subset"),
        (["--subset", "0.005"], "--subset 0.005"),
        (["--normalise", "zca"], "distill.normalise"),
        (["--set", "gan.chanels=3"], "gan.channels"),
        (["--config", "nothing.yaml"], "nothing.yaml"),
        (["--time-limit", "soon"], "25m"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--iterations", "many"], "--iterations"),
        (
            ["--set", "distill.rank=2000", "--normalise", "whiten-dataset", "--subset", "0.1"],
            "distill.rank",
        ),
    ],
)
def test_bad_flags_are_one_line_and_leave_nothing(refused, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused("train", *TINY, *flags)
    assert not list(tmp_path.iterdir())


def test_an_existing_run_directory(refused, digits_run):
    line = refused("train", *TINY, "--run-dir", digits_run)
    assert "--resume" in line


def test_bad_image_folders(refused, gan_vkd, make_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no images" in refused("train", *TINY, "--dataset", empty)
    single = make_folder({"a": 1}, name="single")
    assert "at least two" in refused("train", *TINY, "--dataset", single)
    broken = make_folder({"a": 12}, name="broken")
    (broken / "a" / "3.png").write_bytes(b"broken")
    line = refused("train", *TINY, "--dataset", broken)
    assert "a/3.png" in line
    assert "--skip-bad" in line
    assert "a/3.png" in refused("data", "describe", broken)
    flags = ["--dataset", broken, "--skip-bad", "--iterations", "1", "--teacher", "none"]
    result = gan_vkd("train", "--preset", "tiny", *flags)
    assert result.exit_code == 0, result.output
    assert "1 unreadable files are skipped" in result.stderr


def test_two_images_are_enough(gan_vkd, make_folder, tmp_path):
    root = make_folder({"a": 2}, size=40)
    flags = ["--dataset", root, "--iterations", "2", "--run-dir", tmp_path / "run"]
    result = gan_vkd("train", *TINY, *flags)
    assert result.exit_code == 0, result.output


def test_data_describe(gan_vkd, make_folder, few_of_cifar100):
    result = gan_vkd(
        "data", "describe", make_folder({"train/cat": 3, "train/dog": 1, "test/cat": 2})
    )
    for words in ("2 classes", "4 images, 1 to 3 a class", "2 images", "3  cat", "1  dog"):
        assert words in result.stdout
    result = gan_vkd("data", "describe", "cifar100", "--data-root", few_of_cifar100, "--quiet")
    assert "1,000 images, 10 to 10 a class" in result.stdout


def test_teacher_list_and_describe(gan_vkd, refused):
    listed = gan_vkd("teacher", "list").stdout
    for name in ("efficientnet-lite0", "clip", "timm:NAME", "torchvision:NAME", "none"):
        assert name in listed
    described = gan_vkd("teacher", "describe", "efficientnet-lite0", "--teacher-size", 96).stdout
    assert "1280" in described
    assert "96x96" in described
    assert "global average" in described
    assert "unknown teacher" in refused("teacher", "describe", "x")


def test_teacher_fit_refuses_to_overwrite(refused, tmp_path):
    out = tmp_path / "t.safetensors"
    out.write_text("mine")
    assert "exists" in refused("teacher", "fit", "--dataset", "digits", "--out", out)
    assert ".safetensors" in refused("teacher", "fit", "--dataset", "digits", "--out", "t.pt")


@pytest.fixture
def data_root(few_of_cifar100, request) -> Path:
    """The one with a part of CIFAR-100, or with all of it."""
    if request.param == "a part":
        return few_of_cifar100
    return request.getfixturevalue("shared_data")("cifar100").parent


@pytest.mark.parametrize(
    "data_root", ["a part", pytest.param("whole", marks=pytest.mark.slow)], indirect=True
)
def test_cifar100_with_preset_lab(gan_vkd, data_root, tmp_path, monkeypatch):
    """The user's three commands on CIFAR-100, cut short."""
    monkeypatch.chdir(tmp_path)
    data = ["--data-root", data_root]
    train = ["train", "--dataset", "cifar100", "--subset", "0.1", *data, "--preset", "lab"]
    result = gan_vkd(*train, "--iterations", "3", "--quiet")
    assert result.exit_code == 0, result.output
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["00000-cifar100-0.1-vkd"]
    assert gan_vkd("sample", "--columns", 2).exit_code == 0
    result = gan_vkd("eval", "--num", 300, "--reference", "subset", "--quiet")
    assert result.exit_code == 0, result.output
    assert f"coverage[{BUNDLED}]" in result.stdout


def test_a_plain_install_brings_presets_and_weights(tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "tests", "samples")
    shutil.copytree(PROJECT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    weights = [f"evaluation/{name}.safetensors" for name in bundled_names()]
    for name in ("presets/tiny.yaml", "presets/cifar.yaml", *weights):
        assert f"gan_vkd/{name}" in names
    assert not any(name.startswith("tests") for name in names)
