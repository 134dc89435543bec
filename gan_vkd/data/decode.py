"""One image file → one square uint8 RGB array."""

import io

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow's others run programs or are rare
RESAMPLING = Image.Resampling.BICUBIC  # Pillow's filters are anti-aliased when they shrink


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image → mode RGB, by these rules.

    Orientation tags are applied. Grey is repeated over the three channels; 16-bit grey is scaled
    from 0..65535 to 0..255. Transparent pixels, of palettes too, are laid over white. CMYK and the
    other colour spaces go through Pillow's conversion. Of an animation the first frame is taken.

    Raises:
        ValueError: for 32-bit float or integer pixels, whose range nothing states.
    """
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no stated range: store 8 or 16 bits")
    if image.mode == "I" and image.format != "PNG":  # some Pillows open 16-bit PNGs so
        raise ValueError("32-bit integer pixels have no stated range: store 8 or 16 bits")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def to_square(image: Image.Image, size: int) -> np.ndarray:
    """The central square, resized (bicubic, anti-aliased).

    Returns:
        uint8 [size, size, 3], or [size, size] of an image in mode L.
    """
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), RESAMPLING)
    return np.asarray(image)


def decode(content: bytes, size: int) -> np.ndarray:
    """The bytes of an image file → uint8 [size, size, 3].

    Raises:
        Exception: of any class, for broken, unknown or dangerously large files: Pillow's readers
            raise whatever they trip over.
    """
    with open_image(content) as image:
        return to_square(to_rgb(image), size)


def is_grey(pixels: np.ndarray) -> bool:
    """Whether the three channels of uint8 [H, W, 3] are equal."""
    return bool((pixels == pixels[..., :1]).all())


def open_image(content: bytes) -> Image.Image:
    """The bytes of an image file → a Pillow image whose pixels are not decoded yet.

    Raises:
        Exception: as `decode`.
    """
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > Image.MAX_IMAGE_PIXELS:  # Pillow itself warns up to twice that
        raise Image.DecompressionBombError(
            f"{image.width}x{image.height} pixels; more than {Image.MAX_IMAGE_PIXELS:,} are refused"
        )
    return image
