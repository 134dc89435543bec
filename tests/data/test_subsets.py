import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.subsets import proportional_counts, split_training, subset_indices
from gan_vkd.errors import GanVkdError


def image_set(*counts: int) -> ImageSet:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.arange(len(labels)).remainder(256).to(torch.uint8)
    names = tuple(f"class {i}" for i in range(len(counts)))
    return ImageSet(images[:, None, None, None].expand(-1, 3, 2, 2), labels, names)


def test_balanced_keeps_proportions_and_counts():
    chosen = subset_indices(image_set(500, 500, 100), 0.1, "balanced", seed=0)
    assert torch.bincount(image_set(500, 500, 100).labels[chosen]).tolist() == [50, 50, 10]
    assert (chosen.diff() > 0).all()


def test_uniform_has_the_exact_count_but_not_exact_classes():
    images = image_set(*[500] * 10)
    counts = torch.bincount(images.labels[subset_indices(images, 0.1, "uniform", seed=0)])
    assert counts.sum() == 500
    assert (counts != 50).any()


@pytest.mark.parametrize("draw", ["balanced", "uniform"])
def test_subsets_depend_on_the_seed_and_nest(draw):
    images = image_set(*[100] * 5)
    small, large = (set(subset_indices(images, f, draw, 1).tolist()) for f in (0.1, 0.2))
    assert small < large
    assert small == set(subset_indices(images, 0.1, draw, 1).tolist())
    assert small != set(subset_indices(images, 0.1, draw, 2).tolist())


def test_too_small_a_subset_names_the_empty_class():
    with pytest.raises(GanVkdError, match=r"--subset 0\.01.*class"):
        subset_indices(image_set(*[10] * 20), 0.01, "balanced", 0)
    with pytest.raises(GanVkdError, match="fewer than two"):
        subset_indices(image_set(100), 0.01, "balanced", 0)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(0, 3000))
def test_shares_sum_up_follow_proportions_and_spare_nobody(counts, total):
    shares = proportional_counts(torch.tensor(counts), total)
    assert shares.sum() == total
    assert (shares >= 0).all()
    if total >= len(counts):
        assert (shares > 0).all()
    exact = torch.tensor(counts).double() * total / sum(counts)
    if (exact >= 1).all():
        assert (shares - exact).abs().max() < 1


def test_where_not_every_class_gets_one_classes_are_drawn_by_the_seed():  # CASES 15
    counts = torch.tensor([5] * 30 + [0])
    drawn = [proportional_counts(counts, 10, seed) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], proportional_counts(counts, 30).clamp(max=1))
    for shares in drawn:
        assert shares.sum() == 10
        assert shares.max() == 1
        assert shares[-1] == 0
    unlike = sum(proportional_counts(torch.tensor([9, 1]), 1, seed) for seed in range(200))
    assert 5 <= unlike[1] <= 40  # as likely as they are large


def test_held_out_is_the_test_split_where_there_is_one():
    data = split_training(Dataset("x", image_set(20, 20), image_set(5, 5)), 0.5, "balanced", 0)
    assert (len(data.train), len(data.held_out)) == (20, 10)
    assert data.held_out_origin == "the test split"


def test_a_test_split_of_a_few_images_does_not_serve():
    data = split_training(Dataset("x", image_set(20, 20), image_set(1)), 0.5, "balanced", 0)
    assert (len(data.held_out), data.held_out_origin) == (20, "training images outside the subset")


def test_a_whole_set_with_a_test_split_is_not_copied():
    dataset = Dataset("x", image_set(20, 20), image_set(5, 5))
    data = split_training(dataset, 1.0, "balanced", 0)
    assert data.train is dataset.train
    assert data.held_out is dataset.test


def test_held_out_are_the_images_outside_the_subset():
    dataset = Dataset("x", image_set(100, 100), None)
    data = split_training(dataset, 0.5, "balanced", 0)
    seen, unseen = (set(s.images[:, 0, 0, 0].tolist()) for s in (data.train, data.held_out))
    assert (len(seen), len(unseen), seen & unseen) == (100, 100, set())


def test_a_tenth_is_set_aside_from_a_whole_set():
    data = split_training(Dataset("x", image_set(100, 100), None), 1.0, "balanced", 0)
    assert (len(data.train), len(data.held_out)) == (180, 20)
    assert data.held_out.counts.tolist() == [10, 10]


def test_none_is_held_out_where_too_few_remain():
    data = split_training(Dataset("x", image_set(8, 8), None), 1.0, "balanced", 0)
    assert data.held_out is None
    assert len(data.train) == 16


def test_validation_images_are_set_aside_from_the_subset():
    dataset = Dataset("x", image_set(60, 30), image_set(6, 6))
    whole = split_training(dataset, 0.5, "balanced", 0)
    data = split_training(dataset, 0.5, "balanced", 0, 0.2)
    assert whole.validation is None
    assert data.validation.counts.tolist() == [6, 3]
    assert data.train.counts.tolist() == [24, 12]
    first = [images.images[:, 0, 0, 0].tolist() for images in (data.train, data.validation)]
    assert sorted(first[0] + first[1]) == sorted(whole.train.images[:, 0, 0, 0].tolist())
    assert len(data.held_out) == 12
    with pytest.raises(GanVkdError, match=r"data.validation 0.02: 1 of 45"):
        split_training(dataset, 0.5, "balanced", 0, 0.02)


def test_classes_of_one_image_sit_out_of_the_tenth():  # CASES 9
    dataset = Dataset("x", image_set(200, 50, 1), None)
    data = split_training(dataset, 1.0, "balanced", 0)
    assert data.held_out.counts.tolist() == [20, 5, 0]
    assert data.train.counts.tolist() == [180, 45, 1]
    assert "(but for class 'class 2', of one image)" in data.held_out_origin
    many = split_training(Dataset("x", image_set(100, 1, 1), None), 1.0, "balanced", 0)
    assert many.train.counts.tolist() == [90, 1, 1]
    assert "class 'class 1' and 1 more" in many.held_out_origin


def test_classes_of_one_image_alone_hold_nothing_out():  # CASES 9
    data = split_training(Dataset("x", image_set(*[1] * 120), None), 1.0, "balanced", 0)
    assert (len(data.train), data.held_out) == (120, None)


def test_a_tenth_does_not_depend_on_how_it_is_drawn():
    """Runs of earlier versions go on with the images that they were begun with."""
    dataset = Dataset("x", image_set(100, 60), None)
    data = split_training(dataset, 1.0, "balanced", 3)
    rows = subset_indices(dataset.train, 0.9, "balanced", 3)
    assert torch.equal(data.train.images, dataset.train.images[rows])


def test_one_image_is_too_few_and_its_source_is_named():  # CASES 38
    with pytest.raises(GanVkdError, match="--dataset here/one: its training split has one image"):
        split_training(Dataset("here/one", image_set(1), None), 1.0, "balanced", 0)
