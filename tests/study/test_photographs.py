from pathlib import Path

import pytest
import torch

from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET
from gan_vkd.study import photographs
from gan_vkd.study.photographs import draw_photographs
from gan_vkd.study.plan import Unit, Workplace, read_study

STUDIES = Path(__file__).resolve().parents[2] / "configs" / "studies"


@pytest.fixture
def work(make_folder, tmp_path):
    """A study, without its baseline, of an unbalanced folder of noise with a test split."""
    folder = make_folder({"train/cat": 24, "train/dog": 41, "test/cat": 9, "test/dog": 20})
    study = read_study(STUDIES / "arms.yaml", quick=True, only={"arms": ["whiten"]})
    study = study.model_copy(update={"datasets": {str(folder): 0.3}})
    return Workplace(study, tmp_path / "out")


def data_of(work, unit):
    """The images that a run of the unit trains on, as `run_training` loads them."""
    settings = work.recipe(unit, 1).data
    dataset = load_dataset(settings.dataset, image_size=settings.image_size)
    return split_training(dataset, settings.subset, settings.subset_draw, unit.seed)


def test_drawn_photographs_are_the_same_tensors_in_the_same_order(work, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "HELD_OUT", 12)
    folders = draw_photographs(work, tmp_path / "photos", QUIET)
    assert [folder.name for folder in folders] == ["images-0.3-seed0", "images-0.3-seed1"]
    drawn = Workplace(work.study, work.out, source=tmp_path / "photos")
    seen = []
    for seed in work.study.seeds:
        unit = Unit(*work.study.datasets, "whiten", seed)
        ours, theirs = data_of(drawn, unit), data_of(work, unit)
        assert torch.equal(ours.train.images, theirs.train.images)
        assert torch.equal(ours.train.labels, theirs.train.labels)
        assert ours.train.class_names == theirs.train.class_names
        assert ours.held_out_origin == theirs.held_out_origin == "the test split"
        assert ours.held_out.counts.tolist() == [4, 8]
        assert {image.numpy().tobytes() for image in ours.held_out.images} <= {
            image.numpy().tobytes() for image in theirs.held_out.images
        }
        seen.append(ours.train.images)
    assert not torch.equal(*seen)


def test_what_is_drawn_stays(work, tmp_path):
    [first, _] = draw_photographs(work, tmp_path / "photos", QUIET)
    mark = next(first.glob("train/*/*.png"))
    mark.unlink()
    draw_photographs(work, tmp_path / "photos", QUIET)
    assert not mark.exists()


def test_an_order_that_a_folder_cant_keep_is_refused(tmp_path):
    work = Workplace(read_study(STUDIES / "arms.yaml", quick=True), tmp_path / "out")
    with pytest.raises(GanVkdError, match="can't keep the order"):
        draw_photographs(work, tmp_path / "photos", QUIET)
    assert not list((tmp_path / "photos").glob("[!.]*"))
