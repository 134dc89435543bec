import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_vkd.data.batches import balanced_indices, batch_indices, flip_coins, mirror


@given(st.integers(2, 40), st.integers(2, 70), st.integers(0, 5))
def test_the_stream_runs_through_whole_epochs(count, batch, seed):
    steps = 3 * count // batch + 3
    stream = torch.cat([batch_indices(count, batch, step, seed) for step in range(steps)])
    for epoch in range(len(stream) // count):
        part = stream[epoch * count : (epoch + 1) * count]
        assert part.sort().values.tolist() == list(range(count))


def test_batches_are_functions_of_seed_and_step():
    assert torch.equal(batch_indices(100, 7, 31, 0), batch_indices(100, 7, 31, 0))
    assert not torch.equal(batch_indices(100, 7, 31, 0), batch_indices(100, 7, 31, 1))
    assert not torch.equal(batch_indices(100, 100, 0, 0), batch_indices(100, 100, 1, 0))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(2, 30), st.integers(0, 5))
def test_balanced_batches_show_every_class_equally_often(counts, batch, seed):
    ends = torch.tensor(counts).cumsum(0).tolist()
    members = [torch.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    rounds = 2 * max(counts) + 1
    steps = -(-rounds * len(counts) // batch)
    stream = torch.cat([balanced_indices(members, batch, step, seed) for step in range(steps)])
    stream = stream[: rounds * len(counts)]
    for number, shown in enumerate(stream.split(len(counts))):  # one image of each class per round
        assert labels[shown].sort().values.tolist() == list(range(len(counts))), number
    for own, count in zip(members, counts, strict=True):  # each of its images once per epoch
        of_class = stream[torch.isin(stream, own)]
        for epoch in of_class[: len(of_class) // count * count].split(count):
            assert epoch.sort().values.tolist() == own.tolist()


def test_balanced_batches_are_functions_of_seed_and_step():
    members = [torch.arange(50), torch.arange(50, 60)]
    one = balanced_indices(members, 20, 31, 0)
    assert torch.equal(one, balanced_indices(members, 20, 31, 0))
    assert not torch.equal(one, balanced_indices(members, 20, 31, 1))
    assert not torch.equal(one, balanced_indices(members, 20, 32, 0))


def test_rounds_of_classes_and_epochs_of_a_class_have_orders_of_their_own():
    members = [torch.arange(5) + 5 * label for label in range(8)]
    rounds = balanced_indices(members, 80, 0, 0).view(10, 8)
    classes = rounds // 5
    assert not torch.equal(classes[0], classes[1])
    of_class = [round_[round_ // 5 == 3] for round_ in rounds]
    assert not torch.equal(torch.cat(of_class[:5]), torch.cat(of_class[5:]))


def test_flips_mirror_about_half_and_only_those():
    coins = flip_coins(1000, 3, 0)
    assert 400 < coins.sum() < 600
    images = torch.arange(1000 * 3 * 2 * 4).view(1000, 3, 2, 4)
    mirrored = mirror(images, coins)
    assert torch.equal(mirrored[coins], images[coins].flip(-1))
    assert torch.equal(mirrored[~coins], images[~coins])
