"""gan-vkd classify, from flags to a trained network."""

import json
import signal
from pathlib import Path

import pytest
import torch

from gan_vkd.classification import task
from gan_vkd.distill import weights
from gan_vkd.distill.classifiers import Shape, build_classifier, read_classifier, write_classifier
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.engine.run_dir import read_lines
from gan_vkd.tensors import read_tensors, write_tensors

BASE = ("--student", "resnet8x4", "--set", "training.batch_size=8", "--size", 16, "--quiet")


@pytest.fixture
def folder(make_folder) -> Path:
    return make_folder({"train/a": 12, "train/b": 12, "test/a": 6, "test/b": 6})


@pytest.fixture
def teacher(tmp_path) -> Path:
    path = tmp_path / "teacher.safetensors"
    write_classifier(build_classifier(Shape("resnet8x4", ("a", "b"), 16)), path, {})
    return path


def final_state(run: Path) -> dict[str, torch.Tensor]:
    newest = sorted((run / "checkpoints").iterdir())[-1]
    return read_tensors(newest / "state.safetensors")[0]


def test_a_run_cut_by_time_goes_on_with_the_same_bits(gan_vkd, folder, teacher, tmp_path):
    flags = ["--dataset", folder, *BASE, "--teacher", f"file:{teacher}", "--epochs", 2]
    flags += ["--method", "crd+kd", "--set", "distill.negatives=5", "--set", "training.log_every=1"]
    assert gan_vkd("classify", *flags, "--run-dir", tmp_path / "whole").exit_code == 0
    cut = gan_vkd("classify", *flags, "--run-dir", tmp_path / "cut", "--time-limit", "0s")
    assert cut.exit_code == 0
    assert not (tmp_path / "cut" / "result.json").exists()
    result = gan_vkd("classify", "--resume", "--run-dir", tmp_path / "cut", "--quiet")
    assert result.exit_code == 0, result.output
    ours, theirs = final_state(tmp_path / "cut"), final_state(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    for name in ("result.json", "config.yaml"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert len(read_lines(tmp_path / "cut" / "log.jsonl")) == 6


def test_last_and_best_epoch_are_told_apart(gan_vkd, folder, tmp_path):
    run = tmp_path / "run"
    flags = ("--dataset", folder, *BASE[:-1], "--epochs", 3, "--run-dir", run)
    result = gan_vkd("classify", *flags)
    assert result.exit_code == 0, result.output
    points = read_lines(run / "curve.jsonl")
    assert [point["iteration"] for point in points] == [3, 6, 9]
    found = json.loads((run / "result.json").read_text())
    assert found["last"] == {
        "epoch": 3,
        **{name: points[-1][name] for name in ("top1", "cross_entropy")},
    }
    best = max(points, key=lambda point: point["top1"])
    assert found["best"]["top1"] == best["top1"]
    assert found["best"]["selected_on"] == "the test split (a selection on the evaluated images)"
    assert "a selection on the evaluated images" in result.stderr
    header = read_tensors(run / "best.safetensors")[1]
    assert float(header["epoch"]) == found["best"]["epoch"]
    network = read_classifier(run / "network.safetensors")
    assert network.shape.class_names == ("a", "b")
    assert load_teacher(f"file:{run / 'network.safetensors'}").dim == 256


@pytest.mark.parametrize(("every", "measured"), [(2, [6, 9]), (5, [9])])
def test_the_last_epoch_is_measured_however_seldom_the_others(
    every, measured, gan_vkd, folder, tmp_path
):
    run = tmp_path / "run"
    flags = ("--dataset", folder, *BASE, "--epochs", 3, "--run-dir", run)
    result = gan_vkd("classify", *flags, "--set", f"training.eval_epochs={every}")
    assert result.exit_code == 0, result.output
    assert [point["iteration"] for point in read_lines(run / "curve.jsonl")] == measured
    found = json.loads((run / "result.json").read_text())
    assert found["last"]["epoch"] == 3
    header = read_tensors(run / "best.safetensors")[1]
    assert float(header["epoch"]) == found["best"]["epoch"]


def test_a_signal_in_the_last_iteration_takes_no_figures_away(
    gan_vkd, folder, tmp_path, monkeypatch
):
    iterate = task.ClassificationTask.iterate

    def interrupted(self, iteration, measure=False):
        if iteration == self.schedule.iterations - 1:
            signal.raise_signal(signal.SIGINT)
        return iterate(self, iteration, measure)

    run = tmp_path / "run"
    monkeypatch.setattr(task.ClassificationTask, "iterate", interrupted)
    result = gan_vkd("classify", "--dataset", folder, *BASE, "--epochs", 2, "--run-dir", run)
    assert result.exit_code == 0, result.output
    assert [point["iteration"] for point in read_lines(run / "curve.jsonl")] == [3, 6]
    assert json.loads((run / "result.json").read_text())["last"]["epoch"] == 2


def test_figures_that_are_not_finite_stop_the_run(refused, folder, tmp_path, monkeypatch):
    figures = {"top1": 0.5, "cross_entropy": float("nan")}
    monkeypatch.setattr(task, "accuracy", lambda *_: figures)
    run = tmp_path / "run"
    line = refused("classify", "--dataset", folder, *BASE, "--epochs", 1, "--run-dir", run)
    assert "cross_entropy is nan at iteration 3" in line
    assert not (run / "best.safetensors").exists()
    assert read_lines(run / "curve.jsonl") == []


def test_a_teacher_of_no_numbers_is_refused(refused, folder, teacher, tmp_path):
    state, header = read_tensors(teacher)
    state["head.weight"].fill_(float("nan"))
    write_tensors(teacher, state, header)
    flags = ("--dataset", folder, *BASE, "--teacher", f"file:{teacher}", "--method", "kd")
    assert f"{teacher}: not a whole classifier" in refused("classify", *flags)


def test_validation_images_choose_where_there_are_some(gan_vkd, folder, tmp_path):
    run = tmp_path / "run"
    flags = ("--dataset", folder, *BASE, "--epochs", 2, "--run-dir", run)
    assert gan_vkd("classify", *flags, "--set", "data.validation=0.25").exit_code == 0
    best = json.loads((run / "result.json").read_text())["best"]
    assert best["selected_on"] == "validation images"
    points = read_lines(run / "curve.jsonl")
    assert best["validation_top1"] == max(point["validation_top1"] for point in points)
    for point in points:
        assert point["selection_error"] == pytest.approx(1 - point["validation_top1"])
        assert point["held_out"] == 12


def test_dry_run_says_all_and_leaves_nothing(gan_vkd, folder, teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    flags = ("--dataset", folder, *BASE[:-1], "--teacher", f"file:{teacher}", "--method", "vkd")
    result = gan_vkd("classify", *flags, "--normalise", "whiten", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("24 images", "resnet8x4", "1.21 M", "1 x vkd", "s an iteration", "rate 0.05"):
        assert words in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_pair_of_the_benchmark(gan_vkd, refused, folder, teacher, tmp_path):
    flags = ("--dataset", folder, "--size", 16, "--teacher", f"file:{teacher}", "--method", "kd")
    result = gan_vkd("classify", *flags, "--pair", "resnet8x4:shufflenetv1", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "shufflenetv1, 0.86 M parameters" in result.stderr
    assert "rate 0.01" in result.stderr
    line = refused("classify", *flags, "--pair", "vgg13:vgg8")
    assert "holds resnet8x4, not vgg13" in line
    assert "write TEACHER:STUDENT" in refused("classify", *flags, "--pair", "vgg13")
    line = refused("classify", "--dataset", folder, "--pair", "vgg13:vgg8")
    assert "gan-vkd classify --student vgg13 --method none" in line
    pair = ("--pair", "resnet8x4:resnet8x4", "--run-dir", tmp_path / "run", "--time-limit", "0s")
    assert gan_vkd("classify", *flags, *pair, "--epochs", 1, "--quiet").exit_code == 0
    assert gan_vkd("classify", "--resume", *pair, "--quiet").exit_code == 0


def test_the_methods_fields_go_with_the_flag(gan_vkd, refused, folder, teacher):
    flags = ("--dataset", folder, *BASE[:-1], "--teacher", f"file:{teacher}", "--dry-run")
    result = gan_vkd("classify", *flags, "--set", "distill.weight=7", "--method", "fitnet")
    assert "7 x fitnet" in result.stderr
    line = refused("classify", *flags, "--set", "distill.stage=1", "--method", "kd")
    assert "--set: distill.stage: no field of the distill that is chosen" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--student", "resnet9"), "--student resnet9: unknown network 'resnet9'; did you"),
        (("--student", "timm:resnet1"), "timm has no model 'resnet1'"),
        (("--method", "kdd"), "distill: unknown method of distillation between classifiers"),
        (("--method", "kd"), "--method kd: needs a teacher"),
        (("--teacher", "file:nowhere.safetensors", "--method", "kd"), "no such file"),
        (("--teacher", "file:.", "--method", "kd"), "a folder, not a file"),
        (("--student", "timm:levit_128s", "--set", "student.image_size=224"), "timm:levit_128s:"),
        (("--student", "timm:efficientformer_l1"), "set student.image_size"),
        (("--set", "training.milestone=[1]"), "did you mean training.milestones"),
        (("--set", "data.augment=cutout"), "data.augment"),
        (("--set", "student.pretrained=true"), "no weights of it are published here"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(refused, folder, tmp_path, flags, words):
    line = refused(
        "classify", "--dataset", folder, "--size", 16, *flags, "--run-dir", tmp_path / "r"
    )
    assert words in line
    assert not (tmp_path / "r").exists()


def test_a_students_missing_weights_name_its_own_settings(refused, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "_no_answer", lambda _: "offline")
    flags = ("--dataset", folder, "--student", "timm:test_vit", "--size", 16)
    flags += ("--set", "student.image_size=160", "--set", "student.pretrained=true")
    line = refused("classify", *flags)
    assert line.startswith("Error: --student timm:test_vit: needs ")
    assert "--set student.weights=FILE" in line
    assert "--teacher" not in line
    line = refused("classify", *flags, "--set", f"student.weights={tmp_path / 'none'}")
    assert line == f"Error: --set student.weights={tmp_path / 'none'}: no such file"


def test_one_class_is_refused_and_few_held_out_images_are_said(gan_vkd, refused, make_folder):
    single = make_folder({"train/a": 12, "test/a": 12}, name="single")
    assert "one class" in refused("classify", "--dataset", single, *BASE)
    few = make_folder({"train/a": 12, "train/b": 12, "test/a": 2, "test/b": 2}, name="few")
    result = gan_vkd("classify", "--dataset", few, *BASE[:-1], "--dry-run")
    assert "Held out       none: fewer than 10 images" in result.stderr
    assert "chosen on nothing: no held-out images" in result.stderr


def test_a_teacher_without_these_classes_gives_features(gan_vkd, refused, folder, tmp_path):
    flags = ("--dataset", folder, *BASE[:-1], "--teacher", "efficientnet-lite0")
    assert "--method kd: the teacher has no logits" in refused("classify", *flags, "--method", "kd")
    result = gan_vkd("classify", *flags, "--method", "vkd", "--dry-run")
    assert result.exit_code == 0, result.output


def test_published_weights_are_taken_but_for_the_classifier(gan_vkd, folder, tmp_path):
    from gan_vkd.distill.backbones import lite0_classifier, lite0_file

    run = tmp_path / "run"
    flags = ("--dataset", folder, "--student", "efficientnet-lite0", "--size", 16, "--quiet")
    flags += ("--set", "student.pretrained=true", "--set", "student.image_size=32")
    result = gan_vkd("classify", *flags, "--time-limit", "0s", "--run-dir", run)
    assert result.exit_code == 0, result.output
    found = read_classifier(run / "network.safetensors").plain.state_dict()
    published = lite0_classifier(lite0_file()).state_dict()
    for name, tensor in published.items():
        same = found[name].shape == tensor.shape and torch.equal(found[name], tensor)
        assert same == (not name.startswith("classifier"))


VIT = ("--student", "timm:deit_tiny_distilled_patch16_224", "--set", "student.patch_size=8")
PATCHES = ("--method", "vkd", "--set", "distill.features=positions")


def test_a_transformer_and_a_convolutional_network_teach_each_other(
    gan_vkd, folder, teacher, tmp_path
):
    """Patch tokens against positions (Fig. 2), and the KL divergence on a distillation token."""
    common = ("--dataset", folder, "--size", 16, "--epochs", 1, "--quiet")
    common += ("--set", "training.batch_size=8", "--set", "training.log_every=1")
    flags = (*common, *VIT, *PATCHES, "--set", "distill.kd_weight=1")
    flags += ("--set", "training.optimiser=adamw", "--set", "distill.temperature=1")
    vit, cnn = tmp_path / "vit", tmp_path / "cnn"
    result = gan_vkd("classify", *flags, "--teacher", f"file:{teacher}", "--run-dir", vit)
    assert result.exit_code == 0, result.output
    line = read_lines(vit / "log.jsonl")[-1]
    assert {"cross_entropy", "kl_divergence", "method"} <= line.keys()
    assert "student.network.model.head_dist.weight" in final_state(vit)

    flags = (*common, "--student", "resnet8x4", *PATCHES, "--normalise", "whiten")
    network = vit / "network.safetensors"
    result = gan_vkd("classify", *flags, "--teacher", f"file:{network}", "--run-dir", cnn)
    assert result.exit_code == 0, result.output
    frame = final_state(cnn)["method.loss.projection.frame"]
    assert frame.shape == (256, 192)  # transposed for 256 → 192
    assert torch.allclose(frame.T @ frame, torch.eye(192), atol=1e-5)


def test_skipped_files_are_listed_and_data_that_moved_is_named(gan_vkd, refused, folder, tmp_path):
    (folder / "train" / "a" / "broken.png").write_bytes(b"no picture")
    run = tmp_path / "run"
    flags = ("--dataset", folder, *BASE, "--skip-bad", "--epochs", 1, "--run-dir", run)
    result = gan_vkd("classify", *flags)
    assert result.exit_code == 0, result.output
    (line,) = (run / "skipped.txt").read_text().splitlines()
    assert "broken.png" in line
    assert f"--run-dir {run}: already exists" in refused("classify", *flags)
    folder.rename(tmp_path / "elsewhere")
    line = refused("classify", "--resume", "--run-dir", run)
    assert f"{folder} is missing" in line
    assert f"{run}/config.yaml (data.dataset)" in line
