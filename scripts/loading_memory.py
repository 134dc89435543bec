"""What loading takes of memory: N random images of S pixels, and from them a million.

Usage: python scripts/loading_memory.py N S

Links 100 random BMP files under N names in a temporary folder, so that all are decoded and few
are stored (the cache of decoded images takes 3 N S² bytes beside them, until the end). Fresh
processes load them, first from the files, then from the cache. A peak is the largest resident
memory (ru_maxrss) less what it was after the imports; a file's mapped pages count, too.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 100
FEATURES = 2 * 1280 * 4  # bytes an image: float32, with its mirror image (gan_vkd/distill/cache.py)
MILLION, GIB = 1_000_000, 2**30


def make(folder: Path, count: int, size: int) -> None:
    draws = np.random.default_rng(0)
    for label in range(CLASSES):
        place = folder / f"{label:03}"
        place.mkdir(parents=True)
        first = place / "000000.bmp"
        Image.fromarray(draws.integers(0, 256, (size, size, 3), np.uint8)).save(first)
        for number in range(1, len(range(label, count, CLASSES))):
            (place / f"{number:06}.bmp").hardlink_to(first)


def peak() -> int:
    """Bytes; a process starts with what its parent had, so the parent must be a small one."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def load(folder: str, size: int) -> None:
    """Load, then look at every image once in a random order; print both peaks."""
    import torch

    from gan_vkd.data.sources import load_dataset

    start = peak()
    images = load_dataset(folder, image_size=size).train
    loaded = peak() - start
    for rows in torch.randperm(len(images)).split(64):
        images.batch(rows, torch.device("cpu"))
    print(json.dumps([len(images), loaded, peak() - start]))


def main(count: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "images")
        make(folder, count, size)
        command = [sys.executable, __file__, "load", str(folder), str(size)]
        environment = os.environ | {"XDG_CACHE_HOME": str(Path(temporary, "cache"))}
        first, again = (
            json.loads(subprocess.run(command, env=environment, stdout=-1, check=True).stdout)
            for _ in range(2)
        )
    assert first[0] == again[0] == count
    pixels = 3 * size**2 / GIB  # of one image
    print(f"{count:,} images of {size} pixels are {count * pixels:.2f} GiB of uint8. Peaks:")
    for what, taken in (
        ("loading the files", first[1]),
        ("loading the cache", again[1]),
        ("every image of it seen", again[2]),
    ):
        ratio = taken / GIB / (count * pixels)
        print(f"  {what:22} {taken / GIB:6.2f} GiB, {ratio:.2f} times the images")

    images, features, first_load = (
        MILLION * of_one for of_one in (pixels, FEATURES / GIB, first[1] / GIB / count)
    )
    print(
        f"A million are {images:.1f} GiB; at this rate the first loading peaks at {first_load:.1f} "
        "GiB.\nThat is over before the teacher's features come: 2 x 1,280 float32 an image, "
        f"{features:.1f} GiB\nonce all are known. Training then holds {images + features:.1f} GiB "
        "of images and features, beside the\nnetworks and the libraries. The images are pages of "
        "the cache's file: the system may drop\nthem, and read them again. A part that is selected "
        "(--subset; a tenth held out where there\nis no test split) is a copy; the file's own "
        "pages can then all be dropped."
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"] and len(sys.argv) == 4:
        load(sys.argv[2], int(sys.argv[3]))
    elif len(sys.argv) == 3:
        main(*map(int, sys.argv[1:]))
    else:
        sys.exit(__doc__)
