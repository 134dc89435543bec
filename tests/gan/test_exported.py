import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize

from gan_vkd import load_generator
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.ema import average_of
from gan_vkd.gan.exported import (
    estimate_statistics,
    export_generator,
    save_generator,
)
from gan_vkd.gan.latents import latents
from gan_vkd.gan.networks.biggan import Generator

NAMES = ("apple", "bee", "cat")


@pytest.fixture(scope="module")
def exported():
    torch.manual_seed(0)
    average = average_of(Generator(num_classes=3, image_size=16, channels=8, z_dim=8))
    with torch.no_grad():  # weights that make images differ
        for parameter in average.parameters():
            parameter.mul_(20)
    return export_generator(average, NAMES, torch.tensor([30, 20, 10]), {"iteration": "7"})


def test_training_goes_on_after_an_export():
    live = Generator(num_classes=3, image_size=16, channels=8, z_dim=8)
    average = average_of(live)  # with spectral norm: torch lets copies share a class
    for _ in range(2):
        export_generator(average, NAMES, torch.tensor([3, 2, 1]), {})
        z, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
        assert live(z, labels).shape == average(z, labels).shape == (4, 3, 16, 16)
    live(z, labels).sum().backward()
    assert live.linear.parametrizations.weight.original.grad is not None


def test_latents_are_functions_of_seed_and_index():
    assert torch.equal(latents([5, 2], 16, 0), latents([2, 5], 16, 0).flip(0))
    assert not torch.equal(latents([1], 16, 0), latents([1], 16, 1))
    z = latents(range(300), 64, 0)
    assert abs(z.mean()) < 0.03
    assert abs(z.std() - 1) < 0.03


def test_truncation_bounds_latents_and_vanishes_when_wide():
    z = latents(range(100), 64, 0, truncation=0.5)
    assert z.abs().max() <= 0.5
    assert z.std() > 0.25  # a truncated normal, not a clipped one
    assert torch.allclose(latents([3], 8, 0, 50.0), latents([3], 8, 0), atol=1e-5)


def test_samples_do_not_depend_on_the_batch_size(exported):
    one = exported.sample(64, seed=3, batch_size=1)
    many = exported.sample(64, seed=3, batch_size=64)
    assert (one.int() - many.int()).abs().max() <= 1
    assert many.float().std() > 20  # and the images are no constant


def test_file_alone_gives_the_same_images(exported, tmp_path):
    save_generator(exported, tmp_path / "generator.safetensors")
    for path in (tmp_path, tmp_path / "generator.safetensors"):
        loaded = load_generator(path)
        assert loaded.class_names == NAMES
        assert loaded.card == {"iteration": "7"}
        assert torch.equal(loaded.sample(9, classes=2), exported.sample(9, classes=2))


def test_labels_follow_the_datas_proportions(exported):
    assert exported.labels(6).tolist() == [0, 0, 0, 1, 1, 2]
    assert {int(exported.labels(1, seed)) for seed in range(20)} == {0, 1, 2}  # CASES 15


def test_spectral_norm_is_folded_with_exact_singular_values(exported):
    assert not any(parametrize.is_parametrized(m) for m in exported.network.modules())
    for name, weight in exported.network.named_parameters():
        if name.endswith("conv1.weight") or name == "linear.weight":
            norm = torch.linalg.matrix_norm(weight.flatten(1), 2)
            assert torch.allclose(norm, torch.ones(()), atol=1e-4), name


def test_statistics_are_those_of_the_exported_weights(exported):
    """Activations over fresh mixed samples have the stored means and variances."""
    norm, seen = exported.network.blocks[1].norm1.norm, []
    hook = norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    z = latents(range(1000), 8, seed=9)
    exported.draw(z, torch.multinomial(torch.tensor([3.0, 2, 1]), 1000, replacement=True))
    hook.remove()
    activations = torch.cat(seen)
    mean = activations.mean(dim=(0, 2, 3))
    scale = norm.running_var.sqrt()
    assert ((mean - norm.running_mean) / scale).abs().max() < 0.15
    variance = activations.var(dim=(0, 2, 3))
    assert (variance / norm.running_var - 1).abs().max() < 0.2


def test_statistics_are_averages_over_all_batches(exported):
    norm, seen = exported.network.blocks[0].norm1.norm, []
    before = norm.running_mean.clone(), norm.running_var.clone()
    hook = norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    estimate_statistics(exported.network, torch.tensor([30, 20, 10]))
    hook.remove()
    assert sum(map(len, seen)) == 2_048
    for found, again, statistic in zip(
        before,
        (norm.running_mean, norm.running_var),
        (lambda x: x.mean(dim=(0, 2, 3)), lambda x: x.var(dim=(0, 2, 3))),
        strict=True,
    ):
        assert torch.equal(found, again)
        expected = torch.stack([statistic(batch) for batch in seen]).mean(dim=0)
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_classes_it_does_not_have_are_refused(exported):
    for classes in (3, -1, [0, 1, 5], "dog", "3", 1.0, None, b"bee"):
        with pytest.raises(GanVkdError, match="has 3 classes"):
            exported.sample(3, classes=[classes] if classes is None else classes)
    with pytest.raises(GanVkdError, match="2 of them for 3 images"):
        exported.sample(3, classes=[0, 1])


def test_one_rule_for_classes(exported, tmp_path):  # CASES 29
    two = exported.sample(2, classes=1)
    same = (np.int64(1), "bee", "1", torch.tensor(1), np.uint8(1), [1], ["bee", np.int32(1)])
    for classes in (*same, torch.tensor([1, 1]), np.array([1, 1])):
        assert torch.equal(exported.sample(2, classes=classes), two), classes
    save_generator(exported, tmp_path / "generator.safetensors")
    named = load_generator(tmp_path)
    named.class_names = ("2", "0", "1")
    assert named.class_indices(["2", 2, "0", 0]) == [0, 2, 1, 0]  # text is a name first


def test_no_images_are_images_too(exported):  # CASES 29
    assert exported.sample(0).shape == exported.sample(0, classes=[]).shape == (0, 3, 16, 16)
    with pytest.raises(GanVkdError, match="count -1"):
        exported.sample(-1)


def test_seeds_are_whole_numbers_of_any_kind(exported):  # CASES 28
    three = exported.sample(2, seed=3)
    for seed in (np.int64(3), np.uint8(3), torch.tensor(3)):
        assert torch.equal(exported.sample(2, seed=seed), three)
    for seed in (None, -1, 1.5, np.float64(3), "3"):
        with pytest.raises(GanVkdError, match="write a whole number from 0 on"):
            exported.sample(2, seed=seed)


@pytest.mark.parametrize("truncation", [float("nan"), float("inf"), 0, -1])
def test_a_truncation_that_bounds_nothing_is_refused(exported, truncation):  # CASES 30
    with pytest.raises(GanVkdError, match=f"truncation {truncation}"):
        exported.sample(2, truncation=truncation)


def test_one_generator_one_file(exported, tmp_path):  # CASES 31, 32
    before = os.umask(0o027)
    try:
        for i in range(4):
            save_generator(exported, tmp_path / f"{i}.safetensors")
    finally:
        os.umask(before)
    files = list(tmp_path.iterdir())
    assert len({path.read_bytes() for path in files}) == 1
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}


def test_a_file_that_may_not_be_read_is_called_so(exported, tmp_path, monkeypatch):  # CASES 31
    save_generator(exported, tmp_path / "generator.safetensors")

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(GanVkdError, match=r"can't be read \(Permission denied\)"):
        load_generator(tmp_path)


def test_missing_cut_and_foreign_files(exported, tmp_path):
    with pytest.raises(GanVkdError, match="no such file"):
        load_generator(tmp_path)
    path = tmp_path / "generator.safetensors"
    save_generator(exported, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(GanVkdError, match="not a whole"):
        load_generator(path)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(GanVkdError, match="not a whole"):
        load_generator(path)
