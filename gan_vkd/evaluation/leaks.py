"""Augmentation that has leaked into samples: holes, borders and colours that real images lack.

D that sees only augmented images need not tell G that augmentation is none of its business (Karras
et al., NeurIPS 2020, section 2.2). Three traces are looked for, image by image, in judged and in
real images alike; how many more of the judged ones have them is tested in `findings`.
"""

from collections.abc import Callable

import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import balanced_draw
from gan_vkd.evaluation.kept import of_real
from gan_vkd.evaluation.reference import Reference
from gan_vkd.evaluation.tones import Recoloured, of_real_images
from gan_vkd.progress import QUIET, Reporter

FLAT = 16  # levels of grey, between the least and the greatest of a region of one colour
EDGE = 24  # levels of grey, in a channel, between it and what is beyond
EDGES = 0.75  # of the places along a side, that have such an edge
FEWEST = 1_000  # judged images, and twice as many real ones, for colours
MOST = 10_000  # real images that are looked at
PART = 1_000  # images looked at at a time


def leaks(
    judged: ImageSet, real: ImageSet | Reference, seed: int, reporter: Reporter = QUIET
) -> dict | None:
    """How many images have a hole, a border, or colours as after augmentation.

    Args:
        judged: images of three channels.
        real: those they are compared with; at most `MOST` are looked at.
        seed: which of them, and of the colours' detector.
        reporter: told about it.

    Returns:
        `count` of images, `holes` and `borders`, each `{"judged", "real"}`; and `colours`: the
        same, with the `count` of each side and `caught`, the share of real images with changed
        colours that are found; None for less than `FEWEST` images. None where statistics stand
        for the real images.
    """
    if not isinstance(real, ImageSet):
        return None
    reporter.say("Looking for traces of augmentation")
    if len(real) > MOST:
        real = real.select(balanced_draw(real.labels, MOST, seed))
    sides = {"judged": judged.images.cpu(), "real": real.images.cpu()}
    found = {
        name: {side: _count(look, images) for side, images in sides.items()}
        for name, look in (("holes", has_hole), ("borders", has_border))
    }
    colours = None
    if len(judged) >= FEWEST and len(real) >= 2 * FEWEST:
        shown = sides["real"]
        known = of_real(
            "colours",
            (shown.numpy(),),
            (seed,),
            shown.device,
            lambda: of_real_images(shown, seed),
            reporter,
        )
        colours = Recoloured(known).counts(sides["judged"])
    count = {name: len(images) for name, images in sides.items()}
    return {"count": count, **found, "colours": colours}


def _count(look: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> int:
    return sum(int(look(part).sum()) for part in images.split(PART))


def has_hole(images: torch.Tensor) -> torch.Tensor:
    """Which images have a rectangle of one colour with a sharp corner, as cutout leaves it.

    A square of a quarter of the image's side is of one colour, and along two sides of it that meet
    the next pixels are of another one.

    Args:
        images: uint8 [N, C, S, S].

    Returns:
        bool [N].
    """
    side = images.shape[-1] // 4
    x = images.to(torch.int16)
    spread = _greatest(x, side) + _greatest(-x, side)  # [N, C, S - side + 1, S - side + 1]
    flat = (spread <= FLAT).all(dim=1)
    down = _along(_steps(x, -2), side, -1)  # [N, S - 1, S - side + 1]: an edge below row y
    right = _along(_steps(x, -1), side, -2)
    last = flat.shape[-1] - 1
    # A window of rows y to y + side - 1 has its edge above at y - 1, and below at y + side - 1.
    above, below = down[:, :last], down[:, side - 1 :]
    before, after = right[..., :last], right[..., side - 1 :]
    found = torch.zeros(len(x), dtype=torch.bool)
    for rows, vertical in ((slice(1, None), above), (slice(last), below)):
        for columns, horizontal in ((slice(1, None), before), (slice(last), after)):
            corner = flat[:, rows, columns] & vertical[..., columns] & horizontal[:, rows]
            found |= corner.flatten(1).any(dim=1)
    return found


def has_border(images: torch.Tensor) -> torch.Tensor:
    """Which images have a band of one colour along a side, at most a quarter of it, with an edge.

    Args:
        images: uint8 [N, C, S, S].

    Returns:
        bool [N].
    """
    x = images.to(torch.int16)
    found = torch.zeros(len(x), dtype=torch.bool)
    for turned in (x, x.flip(-2), x.transpose(-1, -2), x.transpose(-1, -2).flip(-2)):
        upper, lower = turned.amax(dim=-1), turned.amin(dim=-1)  # [N, C, S] of each row
        edges = _steps(turned, -2).float().mean(dim=-1) >= EDGES
        for width in range(1, x.shape[-1] // 4 + 1):
            band = upper[..., :width].amax(dim=-1) - lower[..., :width].amin(dim=-1)
            found |= (band <= FLAT).all(dim=1) & edges[:, width - 1]
    return found


def _greatest(x: torch.Tensor, side: int) -> torch.Tensor:
    """The greatest value of each window of `side` x `side`, by windows of twice the length."""
    for dim in (-1, -2):
        width = 1
        while width < side:
            step = min(width, side - width)
            size = x.shape[dim] - step
            x = torch.maximum(x.narrow(dim, 0, size), x.narrow(dim, step, size))
            width += step
    return x


def _steps(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Where the next pixel along `dim` is of another colour, bool [N, ...]."""
    size = x.shape[dim] - 1
    return ((x.narrow(dim, 1, size) - x.narrow(dim, 0, size)).abs() > EDGE).any(dim=1)


def _along(steps: torch.Tensor, side: int, dim: int) -> torch.Tensor:
    """Where enough of the `side` places from here along `dim` have a step."""
    sums = steps.to(torch.int16).cumsum(dim)
    zero = torch.zeros_like(sums.narrow(dim, 0, 1))
    sums = torch.cat([zero, sums], dim=dim)
    size = sums.shape[dim] - side
    return sums.narrow(dim, side, size) - sums.narrow(dim, 0, size) >= EDGES * side
