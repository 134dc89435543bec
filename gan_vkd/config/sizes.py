"""Image sizes, and the shapes of the networks that follow from them."""

SIZES = range(16, 257, 16)  # side of the square images, pixels
FIRST_SIDE = 4  # of the generator's first feature map, at least
LAST_SIDE = 8  # of the discriminator's last one, at least
FULL = {"flat": 256, "narrow": 32}  # a map's side times its width, at most


def generator_sides(image_size: int) -> list[int]:
    """The sides of the generator's maps, the first one and each block's.

    The image's side is halved as long as that gives a whole number of 4 or more, so the first map
    has 4 to 7 pixels a side; at 144, 176, 208 and 240 pixels 9, 11, 13 and 15.
    """
    sides = [image_size]
    while sides[0] % 2 == 0 and sides[0] >= 2 * FIRST_SIDE:
        sides.insert(0, sides[0] // 2)
    return sides


def discriminator_sides(image_size: int) -> list[int]:
    """The sides of the maps that the discriminator's blocks are given.

    Each block halves it as long as that gives 8 or more, so the last map has 8 to 15 pixels a
    side; two more blocks leave it there.
    """
    sides = [image_size]
    while sides[-1] >= 2 * LAST_SIDE:
        sides.append(sides[-1] // 2)
    return [*sides, sides[-1]]


def widths(sides: list[int], shape: str = "flat") -> tuple[int, ...]:
    """Multiples of the unit of width, one a map: 4, and less where a pixel is dear.

    `flat` is BigGAN's at its sizes: 4 up to 64 pixels, 2 at 128, 1 at 256. `narrow` has 4 up to 8
    pixels, 2 at 16, and 1 from 32 on.
    """
    return tuple(max(1, min(4, FULL[shape] // side)) for side in sides)
