import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_vkd import load_generator
from gan_vkd.cli.sample import _parse_classes
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator
from gan_vkd.gan.latents import latents_of_seeds
from gan_vkd.gan.networks.biggan import Generator
from gan_vkd.gan.sampling import CLASS_NAMES, class_grid, shown_classes


def test_grid_has_a_row_a_class(gan_vkd, digits_run, tmp_path):
    out = tmp_path / "grid.png"
    result = gan_vkd("sample", digits_run, "--grid", out, "--columns", 3)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    width, height = Image.open(out).size
    assert height == 2 + 10 * 66
    assert 3 * 66 < width < 3 * 66 + 60


def test_many_classes_stand_in_blocks(digits_run):
    generator = load_generator(digits_run)
    wide = class_grid(generator, columns=2, classes=[i % 10 for i in range(100)])
    assert wide.size[1] == 2 + 25 * 66
    assert wide.size[0] > 4 * 2 * 66


def test_single_images_are_spread_over_the_classes(gan_vkd, digits_run, tmp_path):
    out = tmp_path / "images"
    result = gan_vkd("sample", digits_run, "--out", out, "--num", 25, "--quiet")
    assert result.exit_code == 0, result.output
    files = sorted(out.rglob("*.png"))
    assert len(files) == 25
    assert {p.parent.name for p in files} == set("0123456789")
    assert {len(list((out / c).iterdir())) for c in "0123456789"} == {2, 3}
    drawn = load_generator(digits_run).sample(25)
    image = np.asarray(Image.open(out / "0" / "000000.png"))[None]
    assert abs(image.astype(int) - drawn[0].numpy().astype(int)).max() <= 1


def test_seed_truncation_classes_and_walks_change_the_picture(gan_vkd, digits_run, tmp_path):
    pictures = {}
    for name, flags in {
        "plain": [],
        "again": [],
        "seed": ["--seed", 1],
        "truncation": ["--truncation", 0.3],
        "walk": ["--interpolate"],
        "classes": ["--classes", "3,7"],
    }.items():
        out = tmp_path / f"{name}.png"
        assert gan_vkd("sample", digits_run, "--grid", out, *flags).exit_code == 0
        pictures[name] = out.read_bytes()
    assert pictures["plain"] == pictures["again"]
    assert len(set(pictures.values())) == 5
    assert Image.open(tmp_path / "classes.png").size[1] == 2 + 2 * 66


def test_the_exported_file_alone_is_enough(gan_vkd, digits_run, tmp_path):
    alone = tmp_path / "elsewhere" / "generator.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((digits_run / "generator.safetensors").read_bytes())
    assert gan_vkd("sample", alone).exit_code == 0
    assert (alone.parent / "grid.png").exists()
    assert gan_vkd("sample", alone, "--out", tmp_path / "o", "--num", 3).exit_code == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--classes", "10"], "10 classes"),
        (["--classes", "ten"], "--classes ten"),
        (["--num", "5"], "--num needs --out"),
        (["--truncation", "0"], "--truncation"),
        (["--truncation", "nan"], "truncation nan"),  # CASES 30
        (["--truncation", "inf"], "truncation inf"),
        (["--grid", "x.txt"], "--grid x.txt: no pictures end in .txt"),  # CASES 34
        (["--out", "x", "--interpolate"], "exclude each other"),
        (["--seeds", "3,x"], "--seeds 3,x: write whole numbers"),
        (["--seeds", "3", "--num", "5", "--out", "x"], "--num and --seeds exclude each other"),
        (["--latents", "none.npy"], "--latents none.npy: no such file"),
        (["--latents", __file__], "not a .npy or .npz of one array"),
        (["--latents", "x.npy", "--truncation", "0.5"], "exclude each other"),
        (["--classes", ""], "--classes : this generator has 10"),
    ],
)
def test_bad_flags(refused, digits_run, flags, words):
    assert words in refused("sample", digits_run, *flags)


def test_a_folder_that_holds_something_is_not_written_to(refused, digits_run, tmp_path):
    (tmp_path / "keep.txt").write_text("mine")
    assert "--out" in refused("sample", digits_run, "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]


def test_a_picture_that_cannot_be_written_is_named(refused, digits_run, tmp_path):
    """By its own name, not by that of the temporary file, which goes again."""
    place = tmp_path / "a_folder"
    place.mkdir()
    assert refused("sample", digits_run, "--grid", place, "--quiet").startswith(f"Error: {place}: ")
    (tmp_path / "a_file").touch()
    assert "a_file" in refused("sample", digits_run, "--grid", tmp_path / "a_file" / "grid.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_file", "a_folder"]


def test_class_names_go_nowhere_else_on_the_disk(digits_run, tmp_path):
    from gan_vkd.gan.sampling import write_images
    from gan_vkd.progress import QUIET

    generator = load_generator(digits_run)
    generator.class_names = ("../escape", "a/b", "..", "", "x", "X", "con:", "6", "7", "8")
    write_images(generator, tmp_path / "out", 10, reporter=QUIET)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert len([p for p in (tmp_path / "out").iterdir() if p.is_dir()]) == 10
    table = json.loads((tmp_path / "out" / CLASS_NAMES).read_text())
    assert set(table.values()) == set(generator.class_names)


@pytest.mark.parametrize("packed", [False, True])
def test_samples_keep_the_names_of_their_classes(digits_run, tmp_path, packed):  # CASES 34
    from gan_vkd.evaluation.given import load_given
    from gan_vkd.gan.sampling import write_images
    from gan_vkd.progress import QUIET

    generator = load_generator(digits_run)
    names = ("R&B", "a, b", "a/b", "c:d", "aux", "猫", "x", "é", "50% [x]", "e.")
    generator.class_names = names
    out = tmp_path / "out"
    write_images(generator, out, 10, reporter=QUIET)
    assert {"R&B", "a, b", "猫", "x", "é", "50% [x]"} < {p.name for p in out.iterdir()}
    if packed:
        out = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "out"))
    found = load_given(out, None, QUIET)
    assert set(found.class_names) == set(names)
    drawn = generator.sample(10)
    for label, name in enumerate(names):
        row = found.class_names.index(name)
        assert torch.equal(found.images[row], drawn[label])


def test_a_table_of_names_that_is_none_is_refused(refused, make_folder):  # CASES 34
    folder = make_folder({"a": 4, "b": 4})
    for text in ("nonsense", "[]", '{"a": "b"}'):
        (folder / CLASS_NAMES).write_text(text)
        assert f"{CLASS_NAMES} is no table" in refused("eval", folder, "--reference", "digits")


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".PNG", "PNG"), ("", "PNG")])
def test_a_grid_is_of_the_format_of_its_name(gan_vkd, digits_run, tmp_path, suffix, kind):
    # CASES 34
    out = tmp_path / f"grid{suffix}"
    assert gan_vkd("sample", digits_run, "--grid", out, "--classes", "3").exit_code == 0
    assert Image.open(out).format == kind


def test_classes_with_commas_are_quoted():  # CASES 34
    network = Generator(num_classes=4, image_size=16, channels=4, z_dim=4)
    generator = ExportedGenerator(network, ("a, b", "R&B", "c", "3"), torch.ones(4), {})
    assert _parse_classes('"a, b", R&B,3 ,2', generator) == [0, 1, 3, 2]
    with pytest.raises(GanVkdError, match="--classes a: this generator has 4 classes"):
        _parse_classes("a, b", generator)


@pytest.mark.parametrize("by", ["seeds", "latents"])
def test_images_of_given_latents(gan_vkd, refused, digits_run, tmp_path, by):
    z_dim = load_generator(digits_run).network.shape["z_dim"]
    z = latents_of_seeds([3, 17], z_dim)
    np.save(tmp_path / "z.npy", z.numpy())
    flags = ["--seeds", "3, 17"] if by == "seeds" else ["--latents", tmp_path / "z.npy"]
    flags += ["--classes", "5,2"]
    assert gan_vkd("sample", digits_run, *flags, "--grid", tmp_path / "g.png").exit_code == 0
    assert Image.open(tmp_path / "g.png").size[1] == 2 + 2 * 66
    assert gan_vkd("sample", digits_run, *flags, "--out", tmp_path / "o").exit_code == 0
    files = sorted(p.relative_to(tmp_path / "o").as_posix() for p in tmp_path.glob("o/*/*"))
    assert files == ["2/000000.png", "2/000001.png", "5/000000.png", "5/000001.png"]
    expected = load_generator(digits_run).sample(1, classes="2", seed=17)[0]
    image = np.asarray(Image.open(tmp_path / "o" / "2" / "000001.png"))[None]
    assert abs(image.astype(int) - expected.numpy().astype(int)).max() <= 1
    np.save(tmp_path / "z.npy", z.numpy()[:, 1:])
    line = refused("sample", digits_run, "--latents", tmp_path / "z.npy")
    assert f"takes [N, {z_dim}]" in line


def test_samples_in_one_file(gan_vkd, refused, digits_run, tmp_path):
    out = tmp_path / "x.npz"
    assert gan_vkd("sample", digits_run, "--out", out, "--num", 25, "--quiet").exit_code == 0
    found = np.load(out)
    drawn = load_generator(digits_run).sample(25).numpy().transpose(0, 2, 3, 1)
    assert found["images"].dtype == np.uint8
    assert abs(found["images"].astype(int) - drawn.astype(int)).max() <= 1
    assert found["labels"].tolist() == load_generator(digits_run).labels(25).tolist()
    assert found["class_names"].tolist() == list("0123456789")
    assert "already exists" in refused("sample", digits_run, "--out", out)
    alone = tmp_path / "x.npy"
    assert gan_vkd("sample", digits_run, "--out", alone, "--num", 25, "--quiet").exit_code == 0
    assert np.array_equal(np.load(alone), found["images"])
    assert "already exists" in refused("sample", digits_run, "--out", alone)


def test_of_many_classes_a_hundred_are_drawn():  # CASES 37
    network = Generator(num_classes=300, image_size=16, channels=4, z_dim=4)
    names = tuple(map(str, range(300)))
    generator = ExportedGenerator(network.eval(), names, torch.ones(300), {})
    drawn = shown_classes(generator, 0)
    assert len(drawn) == 100
    assert drawn == sorted(drawn) == shown_classes(generator, 0) != shown_classes(generator, 1)
    assert class_grid(generator, columns=1).size[1] == 2 + 25 * 66
    asked = class_grid(generator, columns=1, classes=range(125))  # those that are named are shown
    assert asked.size[0] > class_grid(generator, columns=1).size[0]


def test_a_run_without_checkpoint(refused, tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    assert "no checkpoint yet" in refused("sample", tmp_path)
    assert "no such file" in refused("sample", tmp_path / "nothing")
