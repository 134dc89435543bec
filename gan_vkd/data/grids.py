"""Images side by side in one picture, one name per row."""

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from gan_vkd.terminal import printable

CELL = 64  # smallest side of an image in a grid, pixels
GAP = 2
ROWS_PER_BLOCK = 25  # more rows than this stand in blocks side by side


def to_pillow(image: torch.Tensor) -> Image.Image:
    """uint8 [3, H, W], or [1, H, W] for grey → a Pillow image."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())


def labelled_rows(
    names: Sequence[str], images: torch.Tensor, room_for: Sequence[str] = ()
) -> Image.Image:
    """Rows with one name each, in blocks side by side if there are many.

    Args:
        names: one a row; 24 letters are shown.
        images: uint8 [rows · columns, C, S, S], row by row; enlarged to 64 pixels or more.
        room_for: other names that the margin has room for, so that pictures have one size.
    """
    size = images.shape[-1]
    cell = size * max(1, math.ceil(CELL / size))
    columns = len(images) // len(names)
    font = ImageFont.load_default(size=14)
    fitted = [printable(name)[:24] for name in (*names, *room_for)]
    names = fitted[: len(names)]
    margin = math.ceil(max(font.getlength(name) for name in fitted)) + 16
    blocks = math.ceil(len(names) / ROWS_PER_BLOCK)
    rows = math.ceil(len(names) / blocks)
    block_width = margin + columns * (cell + GAP) + 8
    picture = Image.new("RGB", (blocks * block_width, rows * (cell + GAP) + GAP), "white")
    pen = ImageDraw.Draw(picture)
    for index, name in enumerate(names):
        block, row = divmod(index, rows)
        left, top = block * block_width, GAP + row * (cell + GAP)
        pen.text((left + margin - 8, top + cell / 2), name, "black", font, anchor="rm")
        for column in range(columns):
            image = to_pillow(images[index * columns + column])
            enlarged = image.resize((cell, cell), Image.Resampling.NEAREST)
            picture.paste(enlarged, (left + margin + column * (cell + GAP), top))
    return picture
