import json
import math
import shutil

import pytest
import torch
from faults import FailingWrites, largest_file

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.engine.checkpoints import Checkpoints
from gan_vkd.engine.health import writing_explained
from gan_vkd.engine.loop import train
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.errors import GanVkdError
from gan_vkd.gan import exported, probes
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


@pytest.fixture
def three(tmp_path) -> Checkpoints:
    """Checkpoints of iterations 2, 4 and 6."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for iteration in (2, 4, 6):
        checkpoints.save(iteration, {**STATE, "n": torch.tensor(iteration)})
    return checkpoints


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_what_was_saved_comes_back_with_its_manifest(three):
    iteration, state, damaged = three.load_newest()
    assert (iteration, damaged) == (6, [])
    assert all(state[name].equal(STATE[name]) for name in STATE)
    manifest = json.loads((three.folder / "00000006" / "manifest.json").read_text())
    file = three.folder / "00000006" / "state.safetensors"
    assert manifest["files"]["state.safetensors"]["bytes"] == file.stat().st_size
    assert len(manifest["files"]["state.safetensors"]["sha256"]) == 64


@pytest.mark.parametrize("file", ["state.safetensors", "manifest.json"])
@pytest.mark.parametrize("harm", [cut, flip, lambda path: path.unlink()], ids=["cut", "flip", "no"])
def test_the_newest_whole_one_is_found_and_the_damaged_named(three, file, harm):
    harm(three.folder / "00000006" / file)
    iteration, state, damaged = three.load_newest()
    assert (iteration, state["n"].item()) == (4, 4)
    assert len(damaged) == 1
    assert "00000006 is damaged" in damaged[0]


def test_a_state_of_another_iteration_is_not_taken_for_this_one(three):
    shutil.rmtree(three.folder / "00000006")
    shutil.copytree(three.folder / "00000002", three.folder / "00000006")
    assert three.load_newest()[0] == 4


def test_none_whole_is_an_error_and_none_at_all_is_not(three, tmp_path):
    for iteration in three.iterations():
        cut(three.folder / f"{iteration:08d}" / "state.safetensors")
    with pytest.raises(GanVkdError, match=r"00000006 is damaged .* no other checkpoint is whole"):
        three.load_newest()
    assert Checkpoints(tmp_path / "nothing").load_newest() is None


def test_one_of_an_earlier_version_is_no_damage_but_named(three):
    manifest = three.folder / "00000006" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("checkpoint-2", "checkpoint-1"))
    with pytest.raises(GanVkdError, match=r"--resume: .*00000006 is of an earlier version"):
        three.load_newest()


def test_unfinished_ones_and_other_files_do_not_count(three):
    (three.folder / ".00000008.1.tmp").mkdir()
    (three.folder / "notes").write_text("mine")
    assert three.iterations() == [2, 4, 6]


def test_going_back_removes_what_comes_again_and_what_dead_writers_left(three):
    run = RunDir(three.folder.parent)
    (three.folder / ".00000008.1.tmp").mkdir()
    (run.path / ".generator.safetensors.1.tmp").write_bytes(b"half")
    run.log_path.write_text("".join(f'{{"iteration": {i}}}\n' for i in range(1, 8)) + '{"iter')
    kept, _ = run.rewind(4)
    assert [line["iteration"] for line in kept] == [1, 2, 3, 4]
    assert three.iterations() == [2, 4]
    assert not list(run.path.rglob("*.tmp"))
    assert run.log_path.read_text().splitlines()[-1] == '{"iteration": 4}'


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A task after two iterations, and the run with a checkpoint of the first."""
    data = split_training(load_dataset("digits", image_size=16, channels=3), 0.1, "balanced", 0)
    sets = ("training.batch_size=4", "training.precision=fp32", "training.iterations=1")
    sets += ("training.d_steps=1", "training.log_every=1")

    def make(*more: str) -> GanTask:
        layers = [("preset", preset_layer("tiny")), ("set", set_layer((*sets, *more)))]
        return GanTask(resolve(layers), data, None, torch.device("cpu"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "COUNT", 8)
        first, longer = make(), make("training.iterations=2")
    run = RunDir(tmp_path_factory.mktemp("run"))
    train(first, run, start=0, deadline=math.inf, reporter=QUIET)
    longer.load_state_dict(run.checkpoints.load_newest()[1])
    longer.iterate(1)
    return longer, run, longer.state_dict()


def go_on(trained, folder) -> RunDir:
    again, base, _ = trained
    again.load_state_dict(base.checkpoints.load_newest()[1])
    run = RunDir(folder)
    with writing_explained(run, "train"):
        train(again, run, start=1, deadline=math.inf, reporter=QUIET)
    return run


def writes_needed(trained, folder) -> int:
    shutil.copytree(trained[1].path, folder)
    with pytest.MonkeyPatch.context() as patch:
        writes = FailingWrites(patch, 0)
        go_on(trained, folder)
    return writes.count


def test_whichever_write_fails_the_last_good_checkpoint_stays_and_the_run_goes_on(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(exported, "STATISTICS_BATCHES", 1)  # dozens of exports
    count = writes_needed(trained, tmp_path / "counted")
    assert count > 15
    for number in range(1, count + 1):
        folder = tmp_path / str(number)
        shutil.copytree(trained[1].path, folder)
        with pytest.MonkeyPatch.context() as patch:
            FailingWrites(patch, number)
            with pytest.raises(GanVkdError, match="No space left on device") as caught:
                go_on(trained, folder)
        assert str(folder) in str(caught.value)
        assert "last good checkpoint is of iteration" in str(caught.value)
        iteration, state, damaged = RunDir(folder).checkpoints.load_newest()
        assert damaged == []
        assert iteration in (1, 2)
        run = go_on(trained, folder)
        state = run.checkpoints.load_newest()[1]
        assert all(tensor.equal(trained[2][name]) for name, tensor in state.items())
        lines = [json.loads(line)["iteration"] for line in run.log_path.read_text().splitlines()]
        assert lines == [1, 2]
        assert not list(folder.rglob("*.tmp"))


def test_the_systems_own_refusal_is_one_line_too(gan_vkd, refused, tmp_path):
    run = tmp_path / "run"
    flags = ["train", "--preset", "tiny", "--teacher", "none", "--subset", "0.1", "--quiet"]
    every = ["--set", "training.checkpoint_every=1", "--set", "training.batch_size=8"]
    with largest_file(30_000):
        line = refused(*flags, *every, "--iterations", 2, "--run-dir", run)
    assert f"--run-dir {run}" in line
    assert "there is no checkpoint yet" in line
    assert "--resume" in line
    assert not list(run.rglob("*.tmp"))
    assert gan_vkd("train", "--resume", "--run-dir", run, "--quiet").exit_code == 0
