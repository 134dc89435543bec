"""Training that starts from a trained generator: --init."""

import pytest
import torch

from gan_vkd import load_generator
from gan_vkd.config.layers import preset_layer, read_config, resolve
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import TrainingData
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.task import GanTask
from gan_vkd.training.initial import read_initial, start_from

FAST = ["train", "--preset", "tiny", "--teacher", "none", "--subset", 0.1, "--quiet"]
FAST += ["--set", "gan.channels=2", "--set", "training.eval_every=0"]


def task(names=("a", "b", "c"), *, normed=False, seed=0, **gan):
    """A new run of tiny networks on noise."""
    settings = {
        "gan": {"channels": 2, "z_dim": 4, "generator_spectral_norm": normed, **gan},
        "training": {"batch_size": 4, "d_steps": 1, "precision": "fp32", "seed": seed},
    }
    recipe = resolve([("tiny", preset_layer("tiny")), ("test", settings)])
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=draws)
    images = ImageSet(images, torch.arange(12) % len(names), tuple(names))
    return GanTask(recipe, TrainingData(images, None, "none"), None, torch.device("cpu"))


@pytest.fixture
def run(tmp_path):
    """A run's directory after three iterations; with or without spectral norm in G."""

    def make(normed=False):
        trained = task(normed=normed)
        with torch.no_grad():  # weights that make images and classes differ
            for parameter in trained.generator.parameters():
                parameter.mul_(10)
        for iteration in range(3):
            trained.iterate(iteration)
        path = tmp_path / f"run-{normed}"
        path.mkdir()
        RunDir(path).checkpoints.save(3, trained.state_dict())
        trained.export(3, path / "generator.safetensors")
        return path, trained

    return make


def drawn(new, **options):
    return new.exported(0).sample(12, **options).int()


@pytest.mark.parametrize(("there", "here"), [(False, False), (True, False), (True, True)])
def test_the_first_samples_are_the_initial_generators(run, there, here):
    path, trained = run(there)
    new = task(normed=here, seed=1)
    expected = load_generator(path).sample(12).int()
    assert expected.float().std() > 5
    assert (drawn(task(normed=here, seed=1)) - expected).abs().max() > 5
    said = start_from(new, read_initial(path))
    assert "its generator and discriminator, 3 of 3 classes by name" in said
    assert (drawn(new) - expected).abs().max() <= 1
    for name, tensor in trained.discriminator.state_dict().items():
        assert torch.allclose(new.discriminator.state_dict()[name], tensor, atol=1e-6), name
    new.iterate(0)


def test_spectral_norm_keeps_the_weights_from_the_first_step_on(run):
    path, _ = run(True)
    new = task(normed=True, seed=1)
    start_from(new, read_initial(path))
    for name, weight in load_generator(path).network.named_parameters():
        if name.endswith(("linear.weight", "conv1.weight", "shortcut.weight", "to_rgb.weight")):
            layer = new.generator.get_submodule(name.removesuffix(".weight"))
            assert torch.allclose(layer.weight, weight, atol=1e-5), name


def test_other_classes_go_by_their_names(run):
    path, trained = run()
    new = task(("c", "new", "a"), seed=1)
    said = start_from(new, read_initial(path))
    assert "2 of 3 classes by name" in said
    old = load_generator(path).network.state_dict()
    state = new.generator.state_dict()
    for name in ("blocks.0.norm1.gain.weight", "blocks.1.norm2.bias.weight"):
        assert torch.equal(state[name][[2, 0]], old[name][[0, 2]])
        assert torch.allclose(state[name][1], old[name].mean(dim=0))
    there, here = (
        of.discriminator.embedding.parametrizations.weight.original for of in (trained, new)
    )
    assert torch.equal(here[[2, 0]], there[[0, 2]])
    assert torch.allclose(here[1], there.mean(dim=0))
    new.iterate(0)


def test_a_file_is_the_generator_alone(run):
    path, _ = run()
    new = task(seed=1)
    before = {name: tensor.clone() for name, tensor in new.discriminator.state_dict().items()}
    said = start_from(new, read_initial(path / "generator.safetensors"))
    assert "its generator," in said
    assert all(torch.equal(before[n], t) for n, t in new.discriminator.state_dict().items())
    assert (drawn(new) - load_generator(path).sample(12).int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"channels": 3}, r"gan\.channels 2 and this run's has 3"),
        ({"z_dim": 8}, r"gan\.z_dim 4 and this run's has 8"),
        ({"generator_widths": [4, 2, 1]}, r"gan\.generator_widths \[4, 4, 2\].*\[4, 2, 1\]"),
        (
            {"discriminator_widths": [1, 1, 1]},
            r"same gan\.discriminator_widths, --discriminator and --with chain, or name its",
        ),
        ({"normed": True}, r"without spectral norm.*gan\.generator_spectral_norm=false"),
    ],
)
def test_other_shapes_are_refused(run, settings, words):
    path, _ = run()
    with pytest.raises(GanVkdError, match=f"^--init {path}: .*{words}"):
        start_from(task(**settings), read_initial(path))


def test_a_discriminator_on_another_frozen_network_is_refused_by_the_flag(run, monkeypatch):
    def refuse(state):
        raise GanVkdError("other frozen features")

    path, _ = run()
    new = task()
    monkeypatch.setattr(new.discriminator, "load_state_dict", refuse)
    with pytest.raises(GanVkdError, match=f"^--init {path}: other frozen features"):
        start_from(new, read_initial(path))


def test_a_run_starts_once_and_resumes_without_it(gan_vkd, refused, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert gan_vkd(*FAST, "--iterations", 1, "--run-dir", first).exit_code == 0
    flags = [*FAST[:-5], "--set", "gan.channels=2", "--set", "training.eval_every=0"]
    result = gan_vkd(*flags, "--iterations", 1, "--init", first, "--run-dir", second)
    assert result.exit_code == 0, result.output
    assert f"{first}: its generator and discriminator, 10 of 10 classes" in result.stderr
    assert read_config(second).training.init == str(first)
    first.rename(tmp_path / "moved")
    result = gan_vkd("train", "--resume", "--run-dir", second, "--iterations", 2)
    assert result.exit_code == 0, result.output
    assert "its generator and discriminator" not in result.stderr
    third = tmp_path / "third"
    line = refused(*FAST, "--init", first, "--run-dir", third)
    assert line.startswith(f"Error: --init {first}")
    assert not third.exists()
