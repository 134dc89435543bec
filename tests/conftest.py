import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from filelock import FileLock
from hypothesis import settings
from PIL import Image

from gan_vkd.cli import cli
from gan_vkd.data.images import to_float
from gan_vkd.distill.teachers import load_teacher

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


settings.register_profile("project", deadline=None)  # machines are shared: nothing is timed
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("project")


@pytest.fixture
def signals_of_a_terminal() -> Iterator[None]:
    """SIGINT and SIGHUP as a terminal has them; nohup and the background ignore them."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    known = {getattr(signal, name): how for name, how in usual.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, how) for number, how in known.items()}
    yield
    for number, how in before.items():
        signal.signal(number, how)


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a file or folder that all processes of the tests share: once("name", make) → path."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path = root / "shared" / name
        path.parent.mkdir(exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                partial = path.parent / "partial" / name
                partial.parent.mkdir(exist_ok=True)
                make(partial)
                partial.rename(path)
        return path

    return made


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory, once):
    """Nothing of the user's is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(once("cache", Path.mkdir)))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        torch.set_flush_denormal(True)
        yield


@pytest.fixture(scope="session")
def shared_data(once):
    """Unpacks a real data set; the test is skipped where they are missing."""

    def unpack(name: str) -> Path:
        script = SHARED / "unpack.py"
        if not script.is_file():
            pytest.skip(f"needs the real images of {name}, which are not beside the project")

        def run(folder: Path) -> None:
            subprocess.run([sys.executable, script, folder.parent, name], check=True)

        return once(name, run)

    return unpack


@pytest.fixture(scope="session")
def cifar100() -> Callable[[str], dict[str, np.ndarray]]:
    """CIFAR-100 without 60,000 files: cifar100("train") → {class: uint8 [500, 32, 32, 3]}."""
    archive = SHARED / "cifar100.tar"
    if not archive.is_file():
        pytest.skip("needs the real images of cifar100, which are not beside the project")

    @cache
    def split(name: str) -> dict[str, np.ndarray]:
        with tarfile.open(archive) as members:
            sheets = {
                Path(member.name).stem: np.asarray(Image.open(members.extractfile(member)))
                for member in members
                if Path(member.name).parent.name == name
            }
        return {name: tiles(sheets[name]) for name in sorted(sheets)}

    return split


def tiles(sheet: np.ndarray, side: int = 32) -> np.ndarray:
    """A sheet [rows * side, columns * side, 3] → its images [rows * columns, side, side, 3]."""
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    cut = sheet[..., :3].reshape(rows, side, columns, side, 3)
    return cut.swapaxes(1, 2).reshape(-1, side, side, 3)


@pytest.fixture(scope="session")
def save_images() -> Callable[[Path, np.ndarray], None]:
    """save_images(folder, uint8 [N, height, width, 3]) writes PNG files into a new folder."""

    def save(folder: Path, images: np.ndarray) -> None:
        folder.mkdir(parents=True)
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{number:04d}.png", compress_level=1)

    return save


@pytest.fixture(scope="session")
def photographs(cifar100, save_images, once) -> Path:
    """Real photographs: 20 classes of CIFAR-100, 30 training and 20 test images of each."""

    def save(root: Path) -> None:
        for split, count in (("train", 30), ("test", 20)):
            for name, images in islice(cifar100(split).items(), 20):
                save_images(root / split / name, images[:count])

    return once("photographs", save)


@pytest.fixture(scope="session")
def few_of_cifar100(cifar100, save_images, once) -> Path:
    """A --data-root with CIFAR-100: all 100 classes, of each the first 10 of each split."""

    def save(root: Path) -> None:
        for split in ("train", "test"):
            for name, images in cifar100(split).items():
                save_images(root / "cifar100" / split / name, images[:10])

    return once("few", save)


@pytest.fixture(scope="session")
def photograph_features(cifar100, once) -> torch.Tensor:
    """The bundled teacher's features [2960, 1280] of photographs of 100 classes."""

    def extract(path: Path) -> None:
        images = torch.from_numpy(np.concatenate(list(cifar100("test").values())))
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:2960]
        teacher = load_teacher("efficientnet-lite0", 64)
        parts = images[order].permute(0, 3, 1, 2).split(80)
        torch.save(torch.cat([teacher(to_float(part)) for part in parts]), path)

    return torch.load(once("photograph_features.pt", extract))


@pytest.fixture
def gan_vkd():
    """Runs a command in this process: gan_vkd("train", ...) → click's Result."""

    def run(*args: object) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args], catch_exceptions=False)

    return run


@pytest.fixture
def refused(gan_vkd):
    """Runs a command that must fail in one line with exit code 2; returns the line."""

    def run(*args: object) -> str:
        result = gan_vkd(*args)
        assert result.exit_code == 2, result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, result.stderr
        assert result.stderr.splitlines()[-1] == errors[0]
        return errors[0]

    return run


@pytest.fixture
def make_folder(tmp_path):
    """Makes a folder of small noise images: {"train/cat": 3, ...} → its path."""

    def make(contents: dict[str, int], size: int = 16, name: str = "images") -> Path:
        root = tmp_path / name
        draws = np.random.default_rng(0)
        for folder, count in contents.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = draws.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{i}.png")
        return root

    return make


@pytest.fixture(scope="session")
def digits_run(once, tmp_path_factory) -> Path:
    """A short real run on digits with the real teacher, started by the command; a copy."""

    def train(run: Path) -> None:
        flags = ["train", "--preset", "tiny", "--iterations", "12", "--run-dir", str(run)]
        flags += ["--set", "training.log_every=4", "--set", "training.sample_every=10", "--quiet"]
        flags += ["--set", "training.eval_every=0"]
        result = CliRunner().invoke(cli, flags, catch_exceptions=False)
        assert result.exit_code == 0, result.output

    return shutil.copytree(once("digits", train), tmp_path_factory.mktemp("runs") / "digits")
