import json
import math
from pathlib import Path

import pytest
import torch

from gan_vkd.config import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.device import resolve_precision
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET
from gan_vkd.training.loop import train
from gan_vkd.training.run_dir import RunDir
from gan_vkd.training.trainer import TeacherView, Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return split_training(load_dataset("digits", image_size=16), 0.2, "balanced", 0)


@pytest.fixture(scope="module")
def view(data):
    return TeacherView(load_teacher("efficientnet-lite0", 32), data, CPU, "fp32")


def make(data, view, *assignments: str) -> Trainer:
    sets = set_layer(("training.batch_size=8", "training.precision=fp32", *assignments))
    recipe = resolve([("preset", preset_layer("tiny")), ("set", sets)])
    return Trainer(recipe, data, view, CPU)


def moved(trainer: Trainer, iteration: int) -> set[str]:
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    trainer.iterate(iteration)
    return {name for name, tensor in trainer.state_dict().items() if not tensor.equal(before[name])}


def test_an_iteration_trains_both_networks_the_average_and_the_projection(data, view):
    trainer = make(data, view)
    trainer.iterate(0)
    names = moved(trainer, 1)
    for part in ("generator", "average", "discriminator", "loss.projection", "d_optimiser"):
        assert any(name.startswith(part) for name in names), part


def test_iterations_depend_on_their_number_and_nothing_else(data, view):
    one, other = make(data, view), make(data, view)
    torch.manual_seed(1)
    one.iterate(0)
    torch.manual_seed(2)
    other.iterate(0)
    states = (one.state_dict(), other.state_dict())
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    one.iterate(1)
    other.iterate(2)
    assert not one.state_dict()["generator.linear.bias"].equal(
        other.state_dict()["generator.linear.bias"]
    )


def test_seed_changes_the_networks(data):
    one, other = make(data, None), make(data, None, "training.seed=1")
    assert not one.generator.linear.bias.equal(other.generator.linear.bias)


def test_terms_are_logged_one_by_one_and_the_ratio_scales_with_the_weight(data, view):
    one_step = "training.d_steps=1"  # with two, they would have parted before the last one
    light = make(data, view, one_step, "distill.weight=1")
    heavy = make(data, view, one_step, "distill.weight=16")
    first, second = light.iterate(0, measure=True), heavy.iterate(0, measure=True)
    terms = {"d_real", "d_fake", "distill_real", "distill_fake", "g", "gradient_ratio"}
    assert terms <= first.keys()
    assert all(math.isfinite(value) for value in first.values())
    assert second["gradient_ratio"] == pytest.approx(16 * first["gradient_ratio"], rel=1e-3)


def test_measuring_and_probing_change_nothing_that_follows(data, view):
    one, other = make(data, view), make(data, view)
    for iteration in range(2):
        one.iterate(iteration, measure=True)
        one.probe()  # may put the projection's frame in place, which the next step would do too
        other.iterate(iteration)
    one.iterate(2)
    other.iterate(2)
    states = (one.state_dict(), other.state_dict())
    assert all(states[0][name].equal(states[1][name]) for name in states[0])


def test_probe_tells_training_from_held_out_images(data, view):
    values = make(data, view).probe()
    for kind in ("train", "held_out"):
        names = {f"{name}_{kind}" for name in ("logit", "logit_std", "fit", "target_norm")}
        assert names <= values.keys()
    assert values["overfitting"] == pytest.approx(values["logit_train"] - values["logit_held_out"])


def test_a_discriminator_that_memorises_shows_up_as_overfitting(data, monkeypatch):
    """One that says 3 for every image it was trained on and -1 for all others."""
    trainer = make(data, None)
    known = {image.numpy().tobytes() for image in data.train.images}

    def memorise(images, labels):
        as_bytes = ((images + 1) * 127.5).round().to(torch.uint8)
        seen = [image.numpy().tobytes() in known for image in as_bytes]
        return torch.tensor([3.0 if s else -1.0 for s in seen]), torch.zeros(len(images), 1)

    monkeypatch.setattr(trainer.discriminator, "forward", memorise)
    values = trainer.probe()
    assert (values["logit_train"], values["logit_held_out"]) == (3, -1)
    assert values["overfitting"] == 4


def test_a_dead_discriminator_shows_up_as_logits_that_are_all_alike(data):
    trainer = make(data, None)
    assert trainer.probe()["logit_std_train"] > 1e-3
    with torch.no_grad():  # the last ReLU passes nothing any more
        trainer.discriminator.blocks[-1].shortcut.bias.fill_(-1e3)
    assert trainer.probe()["logit_std_train"] < 1e-3
    assert trainer.probe()["logit_std_held_out"] < 1e-3


def test_the_teacher_sees_generated_images_as_often_as_asked(data, view, monkeypatch):
    calls = []
    real = view.teacher.forward
    monkeypatch.setattr(view.teacher, "forward", lambda x: calls.append(len(x)) or real(x))
    trainer = make(data, view, "distill.generated_every=4", "training.d_steps=2")
    for iteration in range(4):
        trainer.iterate(iteration)
    assert calls.count(8) == 2  # steps 0 and 4 of 8; the cache calls with 16 images


def test_the_control_gives_each_image_the_target_of_another(data, view, monkeypatch):
    seen = []

    def record(trainer):
        forward = trainer.loss.forward
        monkeypatch.setattr(trainer.loss, "forward", lambda h, z: seen.append(z) or forward(h, z))
        trainer.iterate(0)

    for sets in ([], ["distill.shuffled=true"]):
        record(make(data, view, "training.d_steps=1", "distill.generated_every=1", *sets))
    for matched, shuffled in zip(seen[:2], seen[2:], strict=True):  # real, generated
        assert torch.equal(matched.roll(1, dims=0), shuffled)
        assert not torch.equal(matched, shuffled)


def test_training_goes_on_after_checkpoints_and_grids(data, tmp_path):
    """With spectral norm in G too, which every checkpoint folds into the exported weights."""
    sets = ("gan.generator_spectral_norm=true", "training.iterations=3")
    every = ("training.checkpoint_every=1", "training.sample_every=1")
    trainer = make(data, None, *sets, *every)
    outcome = train(trainer, RunDir(tmp_path), start=0, deadline=math.inf, reporter=QUIET)
    assert outcome.iteration == 3


def test_plain_biggan_has_no_distillation(data):
    terms = make(data, None).iterate(0, measure=True)
    assert not any(name.startswith("distill") for name in terms)


def test_bf16_keeps_weights_and_losses_in_fp32(data, view):
    trainer = make(data, view, "training.precision=bf16")
    terms = trainer.iterate(0, measure=True)
    assert all(math.isfinite(value) for value in terms.values())
    assert all(tensor.dtype != torch.bfloat16 for tensor in trainer.state_dict().values())


def test_precision_is_resolved_by_the_devices_instructions():
    assert resolve_precision("fp32", CPU) == "fp32"
    has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert resolve_precision("auto", CPU) == ("bf16" if has_bf16 else "fp32")
    assert resolve_precision("auto", torch.device("cuda")) == "bf16"


def test_a_loss_that_is_not_finite_stops_the_run_and_names_itself(data, tmp_path):
    trainer = make(data, None, "training.log_every=1", "training.iterations=5")
    with torch.no_grad():
        trainer.discriminator.linear.bias.fill_(math.nan)
    with pytest.raises(GanVkdError, match=r"d_real is nan at iteration 1"):
        train(trainer, RunDir(tmp_path), start=0, deadline=math.inf, reporter=QUIET)
    assert not list(tmp_path.rglob("state.safetensors"))


def test_what_a_run_leaves(digits_run: Path):
    files = {p.relative_to(digits_run).as_posix() for p in digits_run.rglob("*") if p.is_file()}
    for name in (
        "config.yaml",
        "log.jsonl",
        "generator.safetensors",
        "samples/00000010.png",
        "checkpoints/00000012/state.safetensors",
        "checkpoints/00000012/manifest.json",
    ):
        assert name in files
    assert any(name.startswith("events.out.tfevents") for name in files)
    lines = [json.loads(line) for line in (digits_run / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4, 8, 12]
    assert {"d_real", "d_fake", "distill_real", "g", "overfitting", "gradient_ratio"} <= set(
        lines[0]
    )
