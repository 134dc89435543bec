import os
import shutil
import subprocess
import sys
from collections.abc import Callable
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
def photographs(shared_data, once) -> Path:
    """Real photographs: 20 classes of CIFAR-100, 30 training and 20 test images of each."""
    source = shared_data("cifar100")

    def copy(root: Path) -> None:
        for split, count in (("train", 30), ("test", 20)):
            for folder in sorted((source / split).iterdir())[:20]:
                (root / split / folder.name).mkdir(parents=True)
                for image in sorted(folder.iterdir())[:count]:
                    shutil.copy(image, root / split / folder.name)

    return once("photographs", copy)


@pytest.fixture(scope="session")
def few_of_cifar100(shared_data, once) -> Path:
    """A --data-root with CIFAR-100: all 100 classes, of each the first 10 of each split."""
    source = shared_data("cifar100")

    def copy(root: Path) -> None:
        for folder in (*source.glob("train/*"), *source.glob("test/*")):
            (root / "cifar100" / folder.relative_to(source)).mkdir(parents=True)
            for image in sorted(folder.iterdir())[:10]:
                shutil.copy(image, root / "cifar100" / image.relative_to(source))

    return once("few", copy)


@pytest.fixture(scope="session")
def photograph_features(shared_data, once) -> torch.Tensor:
    """The bundled teacher's features [2960, 1280] of photographs of 100 classes."""
    folder = shared_data("cifar100") / "test"

    def extract(path: Path) -> None:
        files = sorted(folder.glob("*/*.png"))
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
        pixels = [np.asarray(Image.open(files[i]).convert("RGB")) for i in order[:2960]]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        teacher = load_teacher("efficientnet-lite0", 64)
        torch.save(torch.cat([teacher(to_float(part)) for part in images.split(80)]), path)

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
        result = CliRunner().invoke(cli, flags, catch_exceptions=False)
        assert result.exit_code == 0, result.output

    return shutil.copytree(once("digits", train), tmp_path_factory.mktemp("runs") / "digits")
