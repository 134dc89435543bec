from pathlib import Path

import pytest
import torch

from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.record import (
    FILE_NAME,
    Record,
    in_order_of,
    read_record,
    record_of,
    require_same,
    write_record,
)
from gan_vkd.errors import GanVkdError


def images(*labels: int, names: str = "abc", first: int = 0) -> ImageSet:
    values = torch.arange(first, first + len(labels), dtype=torch.uint8)
    pixels = values[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
    return ImageSet(pixels, torch.tensor(labels), tuple(names))


def test_a_record_is_read_back(tmp_path):  # CASES 8
    record = record_of(images(0, 1, 2, 1))
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert record.counts == (1, 2, 1)


@pytest.mark.parametrize("content", ["", "{}", "[" * 10**5, '{"classes": [{"name": 1}]}', "\0"])
def test_a_damaged_record_is_named(tmp_path, content):  # CASES 8
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(GanVkdError, match=r"data\.json: damaged"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (images(0, 1, 2, 1, names="zbc"), "class 'a' is gone; class 'z' is new"),
        (images(0, 1, 2, 2), "class 'b' had 2 training images and has 1; class 'c' had 1"),
        (images(0, 1, 2, 1, first=9), "class 'a' has other images"),
        (images(1, 0, 2, 1), "class 'a' has other images"),
    ],
)
def test_what_differs_is_said(now, said):  # CASES 8
    record = record_of(images(0, 1, 2, 1))
    require_same("the run", record, images(0, 1, 2, 1))
    with pytest.raises(GanVkdError) as error:
        require_same("the run", record, now)
    assert said in str(error.value)


def test_of_earlier_runs_names_and_counts_are_compared():  # CASES 8
    record = Record(("a", "b", "c"), (1, 2, 1), None)
    require_same("the run", record, images(0, 1, 2, 1, first=9))
    with pytest.raises(GanVkdError, match="class 'b' had 2 training images and has 1") as error:
        require_same("the run", record, images(0, 1, 2, 2))
    assert "earlier version may have read" in str(error.value)


def test_classes_in_the_order_of_earlier_versions():  # CASES 13
    dataset = Dataset("x", images(0, 1, 2, names="129"), images(2, names="129"))
    turned = in_order_of(dataset, ("1", "9", "2"))
    assert turned.train.class_names == turned.test.class_names == ("1", "9", "2")
    assert turned.train.labels.tolist() == [0, 2, 1]
    assert turned.test.labels.tolist() == [1]
    assert in_order_of(dataset, ("1", "2")) is dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder whose classes are 1, 2 and 10; both may be changed by a copy."""
    import numpy as np
    from click.testing import CliRunner
    from PIL import Image

    from gan_vkd.cli import cli

    root = tmp_path_factory.mktemp("trained")
    draws = np.random.default_rng(0)
    for name in ("1", "2", "10"):
        (root / "images" / name).mkdir(parents=True)
        for i in range(6):
            pixels = draws.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / name / f"{i}.png")
    (root / "images" / "1" / "bad.png").write_bytes(b"")
    flags = ["train", "--preset", "tiny", "--teacher", "none", "--iterations", "1", "--skip-bad"]
    flags += ["--set", "training.batch_size=4", "--set", "training.eval_every=0"]
    flags += ["--dataset", str(root / "images"), "--run-dir", str(root / "run")]
    result = CliRunner().invoke(cli, flags, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return root, result


def resume(run: Path, iterations: int) -> list:
    return ["train", "--resume", "--run-dir", run, "--iterations", iterations]


def test_a_run_keeps_its_record_and_what_it_left_out(trained):  # CASES 5, 8, 13
    root, result = trained
    assert read_record(root / "run").class_names == ("1", "2", "10")
    (line,) = (root / "run" / "skipped.txt").read_text().splitlines()
    assert line.startswith("1/bad.png (not an image")
    said = " ".join(result.stderr.split())
    assert "1 unreadable files are skipped: 1/bad.png" in said
    assert "listed in skipped.txt" in said


def test_resume_and_eval_refuse_other_data(trained, refused):  # CASES 8
    root, _ = trained
    (root / "images" / "2").rename(root / "images" / "z")
    try:
        for command in (resume(root / "run", 2), ["eval", root / "run", "--quiet"]):
            assert "class '2' is gone; class 'z' is new" in refused(*command)
    finally:
        (root / "images" / "z").rename(root / "images" / "2")


def test_a_run_of_an_earlier_version_goes_on_in_its_order(trained, gan_vkd, tmp_path):  # CASES 13
    """It has no record, and its generator has the classes as text sorts them."""
    import shutil

    from gan_vkd.gan.exported import load_generator, save_generator

    root, _ = trained
    run = Path(shutil.copytree(root / "run", tmp_path / "run"))
    (run / FILE_NAME).unlink()
    generator = load_generator(run)
    generator.class_names = ("1", "10", "2")
    save_generator(generator, run / "generator.safetensors")
    result = gan_vkd(*resume(run, 2))
    assert result.exit_code == 0, result.output
    assert "cannot be checked" in " ".join(result.stderr.split())
    assert load_generator(run).class_names == ("1", "10", "2")
    assert read_record(run).class_names == ("1", "10", "2")
    again = gan_vkd(*resume(run, 3))
    assert again.exit_code == 0, again.output
    assert "cannot be checked" not in " ".join(again.stderr.split())
