import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_vkd.data.batches import batch_indices, flip_coins, mirror


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


def test_flips_mirror_about_half_and_only_those():
    coins = flip_coins(1000, 3, 0)
    assert 400 < coins.sum() < 600
    images = torch.arange(1000 * 3 * 2 * 4).view(1000, 3, 2, 4)
    mirrored = mirror(images, coins)
    assert torch.equal(mirrored[coins], images[coins].flip(-1))
    assert torch.equal(mirrored[~coins], images[~coins])
