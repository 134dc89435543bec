"""Grey images have one channel, from the data to the samples."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gan_vkd import load_generator
from gan_vkd.config.layers import read_config
from gan_vkd.data.images import ImageSet, grey, rgb
from gan_vkd.data.sources import load_dataset
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.evaluation.features import Extractor
from gan_vkd.evaluation.pictures import nearest_picture
from gan_vkd.evaluation.protocol import RealImages, evaluate, figures
from gan_vkd.gan.augment.diffaugment import Color
from gan_vkd.gan.exported import FILE_NAME
from gan_vkd.progress import QUIET
from gan_vkd.tensors import read_tensors, write_tensors

FAST = ["--preset", "tiny", "--teacher", "none", "--iterations", 1]
FAST += [
    flag
    for field in ("gan.channels=2", "training.batch_size=4", "training.eval_every=0")
    for flag in ("--set", field)
]


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of two classes of grey images, of which some files may be coloured."""

    def make(coloured: int, name: str = "images"):
        draws = np.random.default_rng(0)
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(6):
                pixels = draws.integers(0, 256, (20, 20), dtype=np.uint8)
                image = Image.fromarray(pixels)
                if label == "b" and i < coloured:
                    image = Image.merge("RGB", (image, image.transpose(2), image))
                elif i % 2:
                    image = image.convert("RGB")
                image.save(tmp_path / name / label / f"{i}.png")
        return tmp_path / name

    return make


@pytest.fixture
def trained(gan_vkd, tmp_path):
    """Trains for one iteration; returns the run and what was said."""

    def train(dataset, *flags, name="run"):
        result = gan_vkd("train", *FAST, "--dataset", dataset, *flags, "--run-dir", tmp_path / name)
        assert result.exit_code == 0, result.output
        return tmp_path / name, result.stderr

    return train


def test_a_grey_folder_is_trained_and_drawn_in_one_channel(gan_vkd, folder, trained, tmp_path):
    run, said = trained(folder(0))
    assert "16x16, grey" in said
    assert read_config(run).data.channels == 1
    assert load_generator(run).sample(3).shape == (3, 1, 16, 16)
    out = tmp_path / "out"
    for flags in (["--out", out, "--num", 4], ["--grid", tmp_path / "grid.png"]):
        assert gan_vkd("sample", run, *flags).exit_code == 0
    images = [Image.open(path) for path in out.rglob("*.png")]
    assert [image.mode for image in images] == ["L"] * 4
    assert load_dataset(str(out), image_size=16).train.channels == 1
    grown = gan_vkd("train", "--resume", "--run-dir", run, "--iterations", 2, "--quiet")
    assert grown.exit_code == 0, grown.output


def test_one_coloured_image_makes_a_set_coloured(folder, trained):
    for coloured, name in ((6, "many"), (1, "one")):
        found = [load_dataset(str(folder(coloured, name)), image_size=16) for _ in range(1)]
        found += [load_dataset(found[0].name, image_size=16)]  # from the cache
        assert [dataset.train.channels for dataset in found] == [3, 3]
    run, said = trained(found[0].name)
    assert "grey" not in said
    assert read_config(run).data.channels == 3
    assert load_generator(run).sample(2).shape == (2, 3, 16, 16)


def test_a_test_split_counts_too(folder, tmp_path):
    folder(0, "set/train")
    folder(1, "set/test")
    dataset = load_dataset(str(tmp_path / "set"), image_size=16)
    assert (dataset.train.channels, dataset.test.channels) == (3, 3)


def test_channels_can_be_forced_both_ways(folder, trained):
    coloured, plain = folder(6, "coloured"), folder(0, "plain")
    run, said = trained(coloured, "--set", "data.channels=1", name="1")
    assert said.count("turned grey") == 1
    assert load_generator(run).sample(2).shape == (2, 1, 16, 16)
    run, said = trained(plain, "--set", "data.channels=3", name="3")
    assert "grey" not in said
    assert load_generator(run).sample(2).shape == (2, 3, 16, 16)


def test_grey_is_luma_and_grey_images_keep_their_values():
    values = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    assert torch.equal(grey(rgb(values)), values)
    red = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    red[:, 0] = 255
    assert grey(red).unique().tolist() == [76]  # 0.299 of 255


def test_a_teacher_sees_three_equal_channels():
    teacher = load_teacher("random:tf_efficientnet_lite0", 32)
    seen = []
    teacher.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 1, 16, 16) * 2 - 1
    features = teacher(images)
    raw = seen[0] * teacher.std + teacher.mean
    assert raw.shape == (2, 3, 32, 32)
    assert torch.allclose(raw, raw[:, :1].expand_as(raw), atol=1e-5)
    assert torch.equal(features, teacher(rgb(images).contiguous()))


def test_saturation_leaves_one_channel_as_it_is():
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    draws = torch.rand(4, 3)
    other = draws.clone()
    other[:, 1] = 0
    assert torch.allclose(Color.apply(images, draws), Color.apply(images, other), atol=1e-6)


def test_a_run_of_an_earlier_version_has_three_channels(gan_vkd, trained, tmp_path):
    """It is drawn from and goes on, though its recipe and generator don't say it."""
    run, _ = trained("digits", "--set", "data.channels=3", "--subset", "0.1")
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]["channels"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    state, header = read_tensors(run / FILE_NAME)
    shape = json.loads(header["shape"])
    del shape["image_channels"]
    write_tensors(run / FILE_NAME, state, {**header, "shape": json.dumps(shape)})

    assert load_generator(run).sample(2).shape == (2, 3, 16, 16)
    grown = gan_vkd("train", "--resume", "--run-dir", run, "--iterations", 2)
    assert grown.exit_code == 0, grown.output
    assert read_config(run).data.channels == 3
    assert load_generator(run).sample(2).shape == (2, 3, 16, 16)


def test_grey_images_are_judged_as_three_equal_channels():
    def run(images):
        assert images.shape[1] == 3
        return images.float().flatten(1)[:, ::7].contiguous(), None

    extractor = Extractor("pixels", "0", torch.device("cpu"), run)
    draws = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=draws)
    found = {}
    for judged, real in ((1, 1), (1, 3), (3, 1), (3, 3)):
        ours, reference = (
            ImageSet(part if channels == 1 else rgb(part).contiguous(), torch.arange(30) % 2, "ab")
            for part, channels in ((values[:30], judged), (values[30:], real))
        )
        sides = RealImages(reference, "real", None, "", reference, "real", None, "")
        options = {"extractor": extractor, "nearest_k": 3, "reporter": QUIET}
        result = evaluate(ours, sides, origin={}, **options)
        few = figures(ours, reference, **options)  # a study's; eval has others beside them
        assert {name: result["metrics"][name] for name in few} == few
        assert nearest_picture(result["copies"], ours.images, reference.images).mode == "RGB"
        found[judged, real] = result
    assert len({json.dumps(result) for result in found.values()}) == 1
