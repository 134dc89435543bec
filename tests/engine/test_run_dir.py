import os

import pytest

from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump, read_config
from gan_vkd.engine.run_dir import create_run_dir, newest_run
from gan_vkd.errors import GanVkdError
from gan_vkd.training.run import run_name


def recipe(teacher: str = "efficientnet-lite0", **data) -> Recipe:
    return Recipe.model_validate({"data": data, "teacher": {"spec": teacher}})


def create(recipe: Recipe, wanted=None):
    return create_run_dir(run_name(recipe), dump(recipe), wanted)


def test_runs_are_numbered_and_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [
        create(recipe(dataset="cifar100", subset=0.1)).name,
        create(recipe(dataset="/some/where/my photos!.zip")).name,
        create(recipe(teacher="none")).name,
    ]
    assert names == ["00000-cifar100-0.1-vkd", "00001-my-photos--1-vkd", "00002-cifar100-1-biggan"]


def test_the_newest_run_is_the_one_started_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanVkdError, match="no run in runs/"):
        newest_run()
    runs = [create(recipe(dataset=name)) for name in ("digits", "cifar10")]
    os.utime(runs[0] / "config.yaml", (2**31, 2**31))
    assert newest_run() == runs[0]


def test_an_existing_directory_is_refused(tmp_path):
    with pytest.raises(GanVkdError, match="--resume"):
        create(recipe(), tmp_path)


def test_config_comes_back(tmp_path):
    run = create(recipe(dataset="digits", subset=0.5), tmp_path / "run")
    assert read_config(run) == recipe(dataset="digits", subset=0.5)
    with pytest.raises(GanVkdError, match="not a run directory"):
        read_config(tmp_path)
