"""A compiled iteration is the iteration; what can't be compiled is refused."""

import pytest
import torch
from fixed_teacher import FixedTeacher
from float64 import in_float64

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill import normalise, projections
from gan_vkd.distill.methods.vkd import VkDLoss
from gan_vkd.distill.normalise import WhitenDataset
from gan_vkd.distill.view import TeacherView
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")
BASE = ("training.batch_size=8", "training.precision=fp32", "terms.mode-seeking=false")
BASE += ("distill.weight=null", "distill.ratio=0.5", "distill.normalise=whiten")


def make(*settings: str, augment: str = "translation,cutout") -> GanTask:
    sets = set_layer((*BASE, f"data.augment={augment}", *settings))
    recipe = resolve([("preset", preset_layer("tiny")), ("set", sets)])
    data = split_training(load_dataset("digits", image_size=16, channels=3), 0.2, "balanced", 0)
    view = TeacherView(FixedTeacher(48), data.train, CPU, "fp32")
    task = GanTask(recipe, data, view, CPU)
    task.prepare(QUIET)
    return task


def as_one_graph(function):
    torch.compiler.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=False)


def test_generator_and_discriminator_are_one_graph_each():
    task = make()
    drawn = task.draws.by_step(task.draws.of_iteration(0))[0]
    images = task.generator(drawn.latents, drawn.labels).detach()
    for function, inputs in (
        (task.generator, (drawn.latents, drawn.labels)),
        (task.discriminator.features, (images,)),
    ):
        state = {name: t.clone() for name, t in task.state_dict().items()}
        plain = function(*inputs)
        task.load_state_dict(state)  # running averages and power iterations
        assert torch.allclose(as_one_graph(function)(*inputs), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "policies", ["translation,cutout,color", pytest.param("ada", marks=pytest.mark.slow)]
)
def test_augmentation_is_one_graph(policies):
    augmentation = Augmentation(policies.split(","))
    draws = augmentation.draw((8,), 16, torch.Generator().manual_seed(0))
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    plain = augmentation(images, draws)
    assert torch.allclose(as_one_graph(augmentation)(images, draws), plain, atol=1e-5)


@pytest.mark.parametrize("targets", ["whiten", "layernorm", "whiten-dataset"])
def test_the_distillation_loss_is_one_graph(targets, monkeypatch):
    """On the path of a GPU, which asks the device nothing."""
    for module in (normalise, projections):
        monkeypatch.setattr(module, "asking_waits", lambda device: True)
    torch.manual_seed(0)
    h, z = torch.randn(8, 16), torch.randn(8, 48)
    normalisation = WhitenDataset.fit([z], 4) if targets == "whiten-dataset" else targets
    loss = VkDLoss(16, 48, "orthogonal", normalisation)
    assert as_one_graph(loss)(h, z).item() == pytest.approx(loss(h, z).item(), rel=1e-5)


@pytest.mark.slow
def test_two_hundred_compiled_iterations_follow_the_plain_ones(monkeypatch):
    """Losses, ratio, λ and gradients to 1e-6 in float64 at each of 200 iterations."""
    torch.compiler.reset()
    fast = in_float64(monkeypatch, make("training.compile=true"))
    plain = in_float64(monkeypatch, make())
    for iteration in range(200):
        found, wanted = (task.iterate(iteration, measure=True) for task in (fast, plain))
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9), iteration
    assert found["gradient_ratio"] > 0


def test_terms_that_differentiate_twice_are_refused():
    with pytest.raises(GanVkdError, match=r"--with r1 differentiates D twice.*compile=false"):
        make("training.compile=true", "terms.r1={}")


def test_a_machine_without_a_compiler_is_told_so(monkeypatch, tmp_path):
    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, str(tmp_path / "no-compiler")))
    with pytest.raises(GanVkdError, match=r"torch.compile fails on this machine.*compile=false"):
        make("training.compile=true")
