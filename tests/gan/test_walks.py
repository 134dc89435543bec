"""Walks: loops that go through what they say, the same every time."""

import numpy as np
import pytest
import torch
from PIL import Image

from gan_vkd import load_generator
from gan_vkd.data.images import to_uint8
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator
from gan_vkd.gan.latents import great_circle, latents
from gan_vkd.gan.networks.biggan import Generator
from gan_vkd.gan.walks import class_walk, latent_walk


@pytest.fixture
def generator():
    """One whose classes differ visibly."""
    torch.manual_seed(0)
    network = Generator(num_classes=3, image_size=16, channels=4, z_dim=4, spectral_norm=False)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(std=0.3)
    return ExportedGenerator(network.eval(), ("a", "b", "long name"), torch.ones(3), {})


def frames(pictures) -> list[np.ndarray]:
    return [np.asarray(picture) for picture in pictures]


def test_on_a_great_circle():
    draws = np.random.default_rng(0)
    start, end = draws.normal(size=(2, 7))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    angle = np.arccos(start @ end)
    for share in (0.0, 0.3, 1.0):
        found = great_circle(torch.tensor(start), torch.tensor(end), torch.tensor(share)).numpy()
        assert np.linalg.norm(found) == pytest.approx(1)
        assert np.arccos(found @ start) == pytest.approx(share * angle, abs=1e-6)


def test_a_latent_walk_goes_through_its_latents_and_is_a_loop(generator):
    options = {"columns": 2, "frames": 3, "seed": 5}
    found = frames(latent_walk(generator, [2, 0], **options))
    assert len(found) == 4 * 3
    assert len({picture.shape for picture in found}) == 1
    again = frames(latent_walk(generator, [2, 0], **options))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    z = latents(range(4 * 4), 4, 5).view(4, 4, 4)
    for leg in range(4):
        images = generator.draw(z[:, leg], torch.tensor([2, 2, 0, 0]))
        assert np.array_equal(corner(found[3 * leg], 1, 1), enlarged(images[3]))
    steps = [
        np.abs(a.astype(int) - b).mean() for a, b in zip(found, [*found[1:], found[0]], strict=True)
    ]
    assert max(steps) < 4 * np.median(steps)  # the last one goes on to the first one


def test_a_class_walk_mixes_embeddings_and_names_the_nearer(generator):
    found = frames(class_walk(generator, [0, 2], columns=2, frames=4))
    assert len(found) == 2 * 4
    assert len({picture.shape for picture in found}) == 1
    z = latents(range(2), 4, 0)
    for number, label in ((0, 0), (4, 2)):
        images = generator.draw(z, torch.tensor([label] * 2))
        assert np.array_equal(corner(found[number], 0, 1), enlarged(images[1]))
    network = generator.network
    with torch.no_grad():  # halfway: by hand, in a network whose class 1 is the mixture
        for name, table in network.named_parameters():
            if ".gain." in name or ".bias.weight" in name:
                table[1] = (table[0] + table[2]) / 2
        images = to_uint8(network(z, torch.tensor([1, 1])))
    assert np.abs(corner(found[2], 0, 1).astype(int) - enlarged(images[1])).max() <= 1
    margins = [picture[:, :50] for picture in found]
    assert np.array_equal(margins[0], margins[1])
    assert np.array_equal(margins[2], margins[5])  # from halfway on it is the other one
    assert not np.array_equal(margins[1], margins[2])
    with pytest.raises(GanVkdError, match="two classes or more"):
        next(class_walk(generator, [0], columns=2, frames=4))


def corner(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """An image of a picture with two columns."""
    left = picture.shape[1] - 8 - (2 - column) * 66
    return picture[2 + 66 * row : 66 + 66 * row, left : left + 64]


def enlarged(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy().repeat(4, axis=0).repeat(4, axis=1)


@pytest.mark.parametrize(("kind", "count"), [("latents", 8), ("classes", 6)])
def test_the_command_writes_a_gif(gan_vkd, digits_run, tmp_path, kind, count):
    out = tmp_path / "walk.gif"
    flags = ["--walk", kind, "--frames", 2, "--classes", "3,5,8", "--columns", 2, "--quiet"]
    assert gan_vkd("sample", digits_run, *flags, "--out", out).exit_code == 0
    with Image.open(out) as gif:
        assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (count, 0, 80)
        options = {"columns": 2, "frames": 2}
        walk = latent_walk if kind == "latents" else class_walk
        drawn = frames(walk(load_generator(digits_run), [3, 5, 8], **options))
        gif.seek(1)
        shown = np.asarray(gif.convert("RGB")).astype(int)
        assert np.abs(shown - drawn[1]).mean() < 3  # 256 colours
    first = out.read_bytes()
    out.unlink()
    gan_vkd("sample", digits_run, *flags, "--out", out)
    assert out.read_bytes() == first
    result = gan_vkd("sample", digits_run, *flags)
    assert result.stdout.strip() == str(digits_run / "samples" / "walk.gif")


def test_flags_of_walks(refused, digits_run, tmp_path):
    walk = ["sample", digits_run, "--walk", "latents"]
    assert "must end in .gif" in refused(*walk, "--out", tmp_path / "x.png")
    for flag in (["--num", 3], ["--seeds", "1"], ["--grid", "x.png"], ["--interpolate"]):
        assert "exclude each other" in refused(*walk, *flag)
    assert "--frames needs --walk" in refused("sample", digits_run, "--frames", 3)
    (tmp_path / "x.gif").touch()
    assert "already exists" in refused(*walk, "--frames", 1, "--out", tmp_path / "x.gif")
