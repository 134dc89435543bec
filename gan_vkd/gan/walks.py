"""Walks through latents or classes, as animated pictures that loop."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from gan_vkd.data.grids import labelled_rows
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator
from gan_vkd.gan.latents import great_circle, latents
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter

STATIONS = 4  # latents that a loop goes through
MOST_CLASSES = 10  # of a walk that names none
MILLISECONDS = 80  # a frame


def latent_walk(
    generator: ExportedGenerator,
    classes: Sequence[int],
    *,
    columns: int,
    frames: int,
    seed: int = 0,
    truncation: float | None = None,
) -> Iterator[Image.Image]:
    """One row per class; each image goes through four latents of its own and back to the first.

    It goes along great circles, see `great_circle`.

    Args:
        generator: what to draw from.
        classes: the rows.
        columns: images per row.
        frames: from one latent to the next.
        seed: of the latents.
        truncation: see `gan_vkd.gan.latents.latents`.

    Yields:
        4 · `frames` pictures of one size; the first one follows on the last one.
    """
    labels = torch.tensor(classes).repeat_interleave(columns)
    z_dim = generator.network.shape["z_dim"]
    stations = latents(range(len(labels) * STATIONS), z_dim, seed, truncation)
    stations = stations.view(len(labels), STATIONS, z_dim)
    names = [generator.class_names[label] for label in classes]
    for leg in range(STATIONS):
        start, end = stations[:, leg], stations[:, (leg + 1) % STATIONS]
        for share in torch.arange(frames) / frames:
            images = generator.draw(great_circle(start, end, share), labels)
            yield labelled_rows(names, images)


def class_walk(
    generator: ExportedGenerator,
    classes: Sequence[int],
    *,
    columns: int,
    frames: int,
    seed: int = 0,
    truncation: float | None = None,
) -> Iterator[Image.Image]:
    """One row of fixed latents that goes through the classes and back to the first.

    Between two classes their embeddings are mixed linearly; the nearer one is named.

    Args:
        generator: what to draw from.
        classes: two or more, in the order of the walk.
        columns: latents.
        frames: from one class to the next.
        seed: of the latents.
        truncation: see `gan_vkd.gan.latents.latents`.

    Yields:
        len(classes) · `frames` pictures of one size; the first one follows on the last one.

    Raises:
        GanVkdError: fewer than two classes.
    """
    if len(classes) < 2:
        raise GanVkdError("--walk classes: needs two classes or more: use --walk latents")
    z = latents(range(columns), generator.network.shape["z_dim"], seed, truncation)
    one_hot = torch.eye(len(generator.class_names))
    names = [generator.class_names[label] for label in classes]
    for leg, here in enumerate(classes):
        there = classes[(leg + 1) % len(classes)]
        for share in torch.arange(frames) / frames:
            mixed = torch.lerp(one_hot[here], one_hot[there], share)
            images = generator.draw(z, mixed.expand(columns, -1))
            nearer = generator.class_names[here if share < 0.5 else there]
            yield labelled_rows([nearer], images, room_for=names)


def write_gif(frames: Iterator[Image.Image], count: int, out: Path, reporter: Reporter) -> None:
    """Write pictures as a GIF that loops for ever, each with 256 colours of its own.

    Raises:
        GanVkdError: `out` can't be written.
    """
    # no dithering, which would flicker
    pictures = [
        frame.quantize(256, dither=Image.Dither.NONE)
        for frame in reporter.track(frames, "Drawing frames", count)
    ]
    try:
        with replacing(out) as temporary:
            pictures[0].save(
                temporary,
                "GIF",
                save_all=True,
                append_images=pictures[1:],
                duration=MILLISECONDS,
                loop=0,
                disposal=1,
            )
    except OSError as error:
        raise GanVkdError(f"--out {out}: cannot be written ({error})") from None
