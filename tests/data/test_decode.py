import io

import numpy as np
import pytest
from PIL import Image

from gan_vkd.data.decode import decode, to_rgb


def encoded(image: Image.Image, suffix: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return file.getvalue()


def only_colour(content: bytes) -> tuple[int, ...]:
    pixels = decode(content, 8)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    return tuple(pixels[0, 0].tolist())


def test_grey_is_repeated():
    assert only_colour(encoded(Image.new("L", (8, 8), 77))) == (77, 77, 77)


def test_16_bit_grey_is_scaled_to_8():
    grey = Image.fromarray(np.full((8, 8), 200 * 257, np.uint16))
    assert only_colour(encoded(grey)) == (200, 200, 200)
    assert only_colour(encoded(grey, "TIFF")) == (200, 200, 200)


def test_transparency_is_laid_over_white():
    assert only_colour(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))) == (255, 255, 255)
    assert only_colour(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 255)))) == (255, 0, 0)
    assert only_colour(encoded(Image.new("LA", (8, 8), (0, 0)))) == (255, 255, 255)


def test_palette_with_and_without_transparency():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert only_colour(encoded(image)) == (10, 20, 30)
    assert only_colour(encoded(image, transparency=1)) == (255, 255, 255)


def test_cmyk_jpeg():
    red, green, blue = only_colour(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 240
    assert green < 30
    assert blue < 30


def test_webp_and_orientation():
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 8))
    assert decode(encoded(image, "WEBP", lossless=True), 8).shape == (8, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = to_rgb(Image.open(io.BytesIO(encoded(image, "JPEG", exif=exif))))
    assert turned.size == (8, 16)


def test_centre_crop_of_the_shorter_side():
    image = Image.new("RGB", (24, 8), "red")
    image.paste("blue", (8, 0, 16, 8))
    assert only_colour(encoded(image)) == (0, 0, 255)


def test_shrinking_is_anti_aliased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = decode(encoded(Image.fromarray(stripes)), 8)
    assert abs(pixels.astype(int) - 128).max() < 20  # picking pixels would give 0 or 255


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"no image at all"])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(OSError, match="identify"):
        decode(content, 8)


def test_float_pixels_are_refused():
    with pytest.raises(ValueError, match="no stated range"):
        decode(encoded(Image.new("F", (8, 8), 0.5), "TIFF"), 8)


def test_32_bit_integers_are_refused():  # CASES 10
    grey = Image.fromarray(np.arange(256, dtype=np.int32).reshape(16, 16))
    with pytest.raises(ValueError, match="32-bit integer pixels have no stated range"):
        decode(encoded(grey, "TIFF"), 8)


def test_of_a_gif_the_first_frame_is_read():  # CASES 5
    red = (255, 0, 0)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert only_colour(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == red
