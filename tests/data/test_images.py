import torch

from gan_vkd.data.images import ImageSet


def test_a_selection_is_a_copy_of_what_it_selects_alone():
    images = ImageSet(torch.arange(4, dtype=torch.uint8)[:, None], torch.arange(4), tuple("abcd"))
    turned = images.select(torch.tensor([3, 1]))
    assert turned.images.flatten().tolist() == turned.labels.tolist() == [3, 1]
    assert turned.images.untyped_storage().nbytes() == 2
    assert images.select(torch.tensor([1, 0, 2, 3])).labels.tolist() == [1, 0, 2, 3]
    assert len(images.select(torch.arange(3))) == 3


def test_all_of_a_set_in_order_is_the_set():
    images = ImageSet(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.arange(4), tuple("abcd"))
    assert images.select(torch.arange(4)) is images
