"""Pictures that belong to a result."""

import torch
from PIL import Image

from gan_vkd.data.grids import labelled_rows
from gan_vkd.data.images import rgb


def nearest_picture(copies: dict, judged: torch.Tensor, training: torch.Tensor) -> Image.Image:
    """The images that are relatively nearest to a training image, above that training image.

    Args:
        copies: what `copies_of_training` found.
        judged: uint8 [N, C, S, S].
        training: uint8 [M, C, S, S].
    """
    names, rows = [], []
    for space in ("features", "pixels"):
        closest = copies[space]["closest"]
        names += [f"nearest by {space}", "training images"]
        rows += [rgb(judged[[pair["image"] for pair in closest]])]
        rows += [rgb(training[[pair["training"] for pair in closest]])]
    return labelled_rows(names, torch.cat(rows))
