import os

import pytest

from gan_vkd.config import Recipe, read_config
from gan_vkd.errors import GanVkdError
from gan_vkd.training.run_dir import create_run_dir, newest_run


def recipe(**data) -> Recipe:
    return Recipe.model_validate({"data": data, "teacher": {"spec": "efficientnet-lite0"}})


def test_runs_are_numbered_and_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [
        create_run_dir(recipe(dataset="cifar100", subset=0.1), None).name,
        create_run_dir(recipe(dataset="/some/where/my photos!.zip"), None).name,
        create_run_dir(Recipe.model_validate({"teacher": {"spec": "none"}}), None).name,
    ]
    assert names == ["00000-cifar100-0.1-vkd", "00001-my-photos--1-vkd", "00002-cifar100-1-biggan"]


def test_the_newest_run_is_the_one_started_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanVkdError, match="no run under runs/"):
        newest_run()
    runs = [create_run_dir(recipe(dataset=name), None) for name in ("digits", "cifar10")]
    os.utime(runs[0] / "config.yaml", (2**31, 2**31))
    assert newest_run() == runs[0]


def test_an_existing_directory_is_refused(tmp_path):
    with pytest.raises(GanVkdError, match="--resume"):
        create_run_dir(recipe(), tmp_path)


def test_config_comes_back(tmp_path):
    run = create_run_dir(recipe(dataset="digits", subset=0.5), tmp_path / "run")
    assert read_config(run) == recipe(dataset="digits", subset=0.5)
    with pytest.raises(GanVkdError, match="not a run directory"):
        read_config(tmp_path)
