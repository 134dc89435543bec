import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fixed_teacher import FixedTeacher
from scipy.stats import mannwhitneyu

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.config.registry import TERMS
from gan_vkd.data.images import to_float
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill.view import TeacherView
from gan_vkd.engine.loop import train
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.errors import GanVkdError
from gan_vkd.gan import task as task_module
from gan_vkd.gan.probes import auc
from gan_vkd.gan.task import GanTask
from gan_vkd.gan.terms.term import Contribution, Term
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return split_training(load_dataset("digits", image_size=16, channels=3), 0.2, "balanced", 0)


@pytest.fixture(scope="module")
def view(data):
    return TeacherView(FixedTeacher(48), data.train, CPU, "fp32")


def make(data, view, *assignments: str) -> GanTask:
    base = ("training.batch_size=8", "training.precision=fp32", "data.augment=translation,cutout")
    sets = set_layer((*base, "terms.mode-seeking=false", *assignments))
    recipe = resolve([("preset", preset_layer("tiny")), ("set", sets)])
    return GanTask(recipe, data, view, CPU)


def moved(task: GanTask, iteration: int) -> set[str]:
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    task.iterate(iteration)
    return {name for name, tensor in task.state_dict().items() if not tensor.equal(before[name])}


def test_an_iteration_trains_both_networks_the_average_and_the_projection(data, view):
    task = make(data, view)
    task.iterate(0)
    names = moved(task, 1)
    for part in ("g.generator", "average", "d.discriminator", "d.terms.vkd.loss", "d.adam"):
        assert any(name.startswith(part) for name in names), part


def test_each_optimiser_has_its_players_parameters_rate_and_betas(data, view):
    task = make(data, view, "training.d_lr=0.003", "training.g_lr=0.0007")
    judges = [*task.discriminator.parameters(), *task.terms.parameters()]
    for player, own, rate in (
        (task.d_player, judges, 0.003),
        (task.g_player, list(task.generator.parameters()), 0.0007),
    ):
        (group,) = player.optimiser.param_groups
        assert [id(p) for p in group["params"]] == [id(p) for p in own]
        assert isinstance(player.optimiser, torch.optim.Adam)
        assert (group["lr"], group["betas"]) == (rate, (0.0, 0.999))
        assert (group["eps"], group["weight_decay"]) == (1e-8, 0)
    assert len(list(task.terms.parameters())) == 1


def test_rates_decays_and_the_average_follow_their_schedules(data):
    """Huang et al.'s, in four iterations, and half-lives of 0, 1, 2 and 2 iterations."""
    from_to = "training.{}={{first: {}, last: {}, iterations: {}}}".format
    task = make(
        *(data, None, from_to("d_lr", 2e-4, 5e-5, 4), from_to("g_lr", 4e-4, 2e-4, 2)),
        *(
            from_to("beta2", 0.9, 0.99, 4),
            from_to("ema_half_life", 0, 2, 2),
            "training.ema_start=0",
        ),
    )
    assert not task.replay.enabled
    cosines = [1, 0.5 + 0.5 * 0.5**0.5, 0.5, 0.5 - 0.5 * 0.5**0.5]  # (1 + cos) / 2 by quarters
    for iteration, cosine in enumerate(cosines):
        before = [p.clone() for p in task.average.parameters()]
        task.iterate(iteration)
        (d,), (g,) = (p.optimiser.param_groups for p in (task.d_player, task.g_player))
        assert d["lr"] == pytest.approx(5e-5 + 1.5e-4 * cosine)
        assert g["lr"] == pytest.approx([4e-4, 3e-4, 2e-4, 2e-4][iteration])
        assert d["betas"] == g["betas"] == (0, pytest.approx(0.99 - 0.09 * cosine))
        decay = [0, 0.5, 0.5**0.5, 0.5**0.5][iteration]
        pairs = zip(before, task.generator.parameters(), strict=True)
        expected = [decay * old + (1 - decay) * live for old, live in pairs]
        for new, blend in zip(task.average.parameters(), expected, strict=True):
            assert torch.allclose(new, blend, atol=1e-7)


def test_d_steps_come_first_each_with_its_own_images_and_number(data, monkeypatch):
    task = make(data, None, "training.d_steps=3", "data.flip=true")
    calls = []

    def d_loss(game, real, draws, step, iteration):
        calls.append(("D", real, draws, step, iteration))
        return original[0](game, real, draws, step, iteration)

    def g_loss(game, draws):
        calls.append(("G", draws))
        return original[1](game, draws)

    original = task_module.discriminator_loss, task_module.generator_loss
    monkeypatch.setattr(task_module, "discriminator_loss", d_loss)
    monkeypatch.setattr(task_module, "generator_loss", g_loss)
    task.iterate(5)
    assert [call[0] for call in calls] == ["D", "D", "D", "G"]
    *of_d, of_g = task.draws.by_step(task.draws.of_iteration(5))
    assert torch.equal(calls[-1][1].latents, of_g.latents)
    for turn, ((_, real, draws, step, iteration), own) in enumerate(
        zip(calls[:-1], of_d, strict=True)
    ):
        assert (step, iteration) == (15 + turn, 5)
        assert torch.equal(draws.latents, own.latents)
        images = to_float(data.train.images[own.rows])
        for image, shown, coin in zip(images, real.images, own.mirrored, strict=True):
            assert torch.equal(shown, image.flip(-1) if coin else image)
        assert torch.equal(real.labels, data.train.labels[own.rows])
    assert any(own.mirrored.any() and not own.mirrored.all() for own in of_d)


def test_the_teacher_sees_the_very_images_that_d_is_shown_before_augmentation(data, view):
    task = make(data, view, "data.flip=true")
    drawn = task.draws.of_iteration(0)
    assert drawn["mirrored"][0].any()
    real = task_module._real(task._shown(drawn), 0, drawn["mirrored"][0])
    assert torch.allclose(real.teacher, view.see(real.images), atol=1e-4)
    assert not torch.allclose(real.teacher, view.see(real.images.flip(-1)), atol=1e-2)


def test_the_average_starts_as_a_copy_and_then_follows_its_decay(data):
    task = make(data, None, "training.ema_start=2", "training.ema_decay=0.75")
    for iteration in range(4):
        before = [p.clone() for p in task.average.parameters()]
        task.iterate(iteration)
        decay = 0.75 if iteration >= 2 else 0.0
        for old, new, live in zip(
            before, task.average.parameters(), task.generator.parameters(), strict=True
        ):
            assert torch.allclose(new, decay * old + (1 - decay) * live, atol=1e-7)


def test_networks_train_in_train_mode_and_d_is_probed_in_eval_mode(data):
    """Power iterations and batch-norm statistics move in steps, not in the probe."""
    task = make(data, None, "gan.generator_spectral_norm=true")
    task.iterate(0)
    names = moved(task, 1)
    for part, ending in (
        ("d.discriminator", "weight.0.u"),
        ("g.generator", "weight.0.u"),
        ("g.generator", "running_mean"),
    ):
        assert any(n.startswith(part) and n.endswith(ending) for n in names), ending
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    task.probe()
    assert all(tensor.equal(state[name]) for name, tensor in task.state_dict().items())
    assert task.discriminator.training
    assert not task.average.training


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
    bias = "g.generator.linear.bias"
    assert not one.state_dict()[bias].equal(other.state_dict()[bias])


def test_seed_changes_the_networks(data):
    one, other = make(data, None), make(data, None, "training.seed=1")
    assert not one.generator.linear.bias.equal(other.generator.linear.bias)


def test_parts_of_the_losses_are_logged_one_by_one(data, view):
    terms = make(data, view).iterate(0, measure=True)
    assert {"d_real", "d_fake", "distill_real", "distill_fake", "g"} <= terms.keys()
    assert {"gradient_ratio", "distill_weight", "d_gradient", "g_gradient", "spread"} <= (
        terms.keys()
    )
    assert all(math.isfinite(value) for value in terms.values())
    assert not any(name.startswith("distill") for name in make(data, None).iterate(0, True))


def test_logged_gradients_are_those_of_the_players(data, view):
    task = make(data, view)
    terms = task.iterate(0, measure=True)
    for name, modules in (
        ("d_gradient", (task.discriminator, task.terms)),
        ("g_gradient", (task.generator,)),
    ):
        squares = [p.grad.square().sum() for m in modules for p in m.parameters()]
        assert terms[name] == pytest.approx(float(sum(squares)) ** 0.5, rel=1e-4)


def test_spread_is_of_generated_over_real_images(data, monkeypatch):
    task = make(data, None, "training.d_steps=1")
    seen = []
    original = task_module.discriminator_loss
    monkeypatch.setattr(
        task_module,
        "discriminator_loss",
        lambda *args: seen.append(original(*args)) or seen[-1],
    )
    spread = task.iterate(0, measure=True)["spread"]
    fake, real = (images.std(dim=0).mean() for images in (seen[0][2].fake, seen[0][2].real))
    assert spread == pytest.approx((fake / real).item(), rel=1e-5)


def test_measuring_and_probing_change_nothing_that_follows(data, view):
    one, other = make(data, view), make(data, view)
    for iteration in range(2):
        one.iterate(iteration, measure=True)
        one.probe()  # may put the projection's frame in place, which the next step would do too
        one.exported(iteration)
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
    task = make(data, None)
    known = {image.numpy().tobytes() for image in data.train.images}

    def memorise(images, labels):
        as_bytes = ((images + 1) * 127.5).round().to(torch.uint8)
        seen = [image.numpy().tobytes() in known for image in as_bytes]
        return torch.tensor([3.0 if s else -1.0 for s in seen]), torch.zeros(len(images), 1)

    monkeypatch.setattr(task.discriminator, "forward", memorise)
    values = task.probe()
    assert (values["logit_train"], values["logit_held_out"]) == (3, -1)
    assert values["overfitting"] == 4
    assert values["logit_auc"] == 1


def test_auc_is_mann_whitney_s():
    draws = np.random.default_rng(0)
    first, second = draws.integers(0, 9, 40) + 1.0, draws.integers(0, 9, 60) + 0.0
    expected = mannwhitneyu(first, second).statistic / (40 * 60)
    assert auc(torch.from_numpy(first), torch.from_numpy(second)) == pytest.approx(expected)


def test_a_dead_discriminator_shows_up_as_logits_that_are_all_alike(data):
    task = make(data, None)
    assert task.probe()["logit_std_train"] > 1e-3
    with torch.no_grad():  # the last ReLU passes nothing any more
        task.discriminator.blocks[-1].shortcut.bias.fill_(-1e3)
    assert task.probe()["logit_std_train"] < 1e-3
    assert task.probe()["logit_std_held_out"] < 1e-3


def test_the_teacher_sees_generated_images_as_often_as_asked(data, view, monkeypatch):
    calls = []
    real = view.teacher.forward
    monkeypatch.setattr(view.teacher, "forward", lambda x: calls.append(len(x)) or real(x))
    task = make(data, view, "distill.generated_every=4", "training.d_steps=2")
    for iteration in range(4):
        task.iterate(iteration)
    assert calls.count(8) == 2  # steps 0 and 4 of 8; the cache calls with 16 images


def test_one_export_serves_all_of_an_iteration(data, monkeypatch):
    task, made = make(data, None), []
    original = task_module.export_generator
    monkeypatch.setattr(
        task_module, "export_generator", lambda *args: made.append(1) or original(*args)
    )
    first = task.exported(1)
    assert task.exported(1) is first
    task.iterate(1)
    assert task.exported(2) is not first
    assert len(made) == 2
    state = task.state_dict()
    task.load_state_dict(state)
    task.exported(2)
    assert len(made) == 3


def test_restored_moments_lie_in_memory_as_fresh_ones(data, view):
    task, other = make(data, view), make(data, view)
    task.iterate(0)
    other.load_state_dict(task.state_dict())
    for one, two in ((task.d_player, other.d_player), (task.g_player, other.g_player)):
        for p, q in zip(one._parameters(), two._parameters(), strict=True):
            for name, tensor in one.optimiser.state[p].items():
                assert two.optimiser.state[q][name].stride() == tensor.stride()
                assert two.optimiser.state[q][name].equal(tensor)


def test_a_run_goes_on_with_its_own_teacher_alone(data, view):
    task = make(data, view)
    state = task.state_dict()
    task.load_state_dict(state)
    another = FixedTeacher(48)
    another.map += 1
    other = make(data, TeacherView(another, data.train, CPU, "fp32"))
    with pytest.raises(GanVkdError, match=r"^--teacher .*other weights than the run began with"):
        other.load_state_dict(state)


def test_training_goes_on_after_checkpoints_and_grids(data, tmp_path):
    """With spectral norm in G too, which every checkpoint folds into the exported weights."""
    sets = ("gan.generator_spectral_norm=true", "training.iterations=3")
    every = ("training.checkpoint_every=1", "training.sample_every=1")
    task = make(data, None, *sets, *every)
    outcome = train(task, RunDir(tmp_path), start=0, deadline=math.inf, reporter=QUIET)
    assert outcome.iteration == 3


def test_bf16_keeps_weights_and_losses_in_fp32(data, view):
    task = make(data, view, "training.precision=bf16")
    terms = task.iterate(0, measure=True)
    assert all(math.isfinite(value) for value in terms.values())
    assert all(tensor.dtype != torch.bfloat16 for tensor in task.state_dict().values())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_itself(data, tmp_path):
    task = make(data, None, "training.log_every=1", "training.iterations=5")
    with torch.no_grad():
        task.discriminator.linear.bias.fill_(math.nan)
    with pytest.raises(GanVkdError, match=r"d_real is nan at iteration 1"):
        train(task, RunDir(tmp_path), start=0, deadline=math.inf, reporter=QUIET)
    assert not list(tmp_path.rglob("state.safetensors"))


class Dummy(Term):
    """A new term: D's logits on real images are pulled to their count of calls."""

    paper = "none"

    def __init__(self, settings, setting):
        super().__init__(settings, setting)
        self.register_buffer("calls", torch.zeros(()))

    def discriminator(self, seen):
        self.calls += 1
        value = (seen.logits_real - self.calls).square().mean()
        return Contribution(value, {"dummy": value})


def test_a_new_term_takes_a_class_and_a_line_of_the_registry(data, monkeypatch):
    monkeypatch.setitem(TERMS.entries, "dummy", Dummy)
    task = make(data, None, "terms.dummy={}")
    assert task.iterate(0, measure=True)["dummy"] > 0
    state = task.state_dict()
    assert state["d.terms.dummy.calls"] == 2
    other = make(data, None, "terms.dummy={}")
    other.load_state_dict(state)
    assert other.terms["dummy"].calls == 2


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
