import pytest
import torch

from gan_vkd.data.batches import batch_indices, flip_coins
from gan_vkd.engine.draws import pack, to_device, unpack
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.draws import Draws

CPU = torch.device("cpu")
LABELS = torch.tensor([0] * 30 + [1] * 10)


def drawn(iteration: int, **changes):
    settings = {
        "image_size": 32,
        "batch_size": 8,
        "d_steps": 3,
        "z_dim": 5,
        "flip": True,
        "augmentation": Augmentation(("translation", "cutout")),
        "seed": 0,
    }
    labels = changes.pop("labels", LABELS)
    draws = Draws(labels, **{**settings, **changes})
    return draws.by_step(draws.of_iteration(iteration))


def everything(steps) -> list[torch.Tensor]:
    found = []
    for step in steps:
        found += [step.latents, step.labels, *step.fake.values()]
        if step.rows is not None:
            found += [step.rows, step.mirrored, *step.real.values()]
    return found


def same(one, other) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(everything(one), everything(other), strict=True)]


def test_steps_of_d_and_one_of_g_which_sees_nothing_real():
    *d_steps, g_step = drawn(0)
    assert len(d_steps) == 3
    assert (g_step.rows, g_step.mirrored, g_step.real) == (None, None, None)
    for step in drawn(0):
        assert step.latents.shape == (8, 5)
        assert step.labels.shape == (8,)
        assert {name: tuple(t.shape) for name, t in step.fake.items()} == {
            "translation": (8, 2),
            "cutout": (8, 2),
        }


def test_a_function_of_seed_and_iteration():
    torch.manual_seed(1)
    one = drawn(2)
    torch.manual_seed(2)
    assert all(same(one, drawn(2)))
    assert not any(same(one, drawn(3)))
    assert not any(same(one, drawn(2, seed=1)))


def test_no_two_steps_and_no_two_kinds_share_numbers():
    *d_steps, g_step = drawn(0, batch_size=64)
    all_latents = [step.latents for step in (*d_steps, g_step)]
    for i, latents in enumerate(all_latents):
        assert not any(torch.equal(latents, other) for other in all_latents[:i])
    for step in d_steps:
        assert not torch.equal(step.real["translation"], step.fake["translation"])
        assert not torch.equal(step.real["cutout"], step.fake["cutout"])


def test_real_images_come_in_the_epochs_order_step_by_step():
    for turn, step in enumerate(drawn(4)[:3]):
        assert torch.equal(step.rows, batch_indices(len(LABELS), 8, 4 * 3 + turn, 0))
        assert torch.equal(step.mirrored, flip_coins(8, 4 * 3 + turn, 0))
    assert not any(step.mirrored.any() for step in drawn(4, flip=False)[:3])


def test_latents_are_normal_and_labels_follow_the_data():
    *_, step = drawn(0, batch_size=4_000)
    assert step.latents.mean().abs() < 0.02
    assert step.latents.std() == pytest.approx(1, abs=0.02)
    assert (step.labels == 1).float().mean() == pytest.approx(0.25, abs=0.03)


def test_balanced_draws_show_and_generate_classes_equally_often():
    *d_steps, g_step = drawn(3, batch_size=400, balanced=True)
    for step in d_steps:
        assert (LABELS[step.rows] == 1).float().mean() == 0.5
        assert (step.labels == 1).float().mean() == pytest.approx(0.5, abs=0.1)
    assert (g_step.labels == 1).float().mean() == pytest.approx(0.5, abs=0.1)
    assert all(same(drawn(2, balanced=True), drawn(2, balanced=True)))
    *_, sparse = drawn(0, balanced=True, labels=torch.tensor([0, 0, 2, 2, 2]), batch_size=50)
    assert set(sparse.labels.tolist()) == {0, 2}  # a class without an image is not generated


def test_packed_tensors_come_out_as_they_went_in():
    tensors = {
        "latents": torch.randn(3, 5),
        "coins": torch.tensor([True, False, True]),
        "labels": torch.arange(7),
        "none": torch.empty(0, 2),
        "transposed": torch.randn(4, 3).T,
    }
    packed = pack(tensors)
    assert packed.dtype == torch.uint8
    found = unpack(packed, tensors)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert to_device(tensors, CPU) is tensors
