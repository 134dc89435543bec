"""Latents, as functions of a seed and a number."""

import math
import operator
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gan_vkd.errors import GanVkdError
from gan_vkd.randomness import generator


def latents(
    indices: Sequence[int], z_dim: int, seed: int, truncation: float | None = None
) -> torch.Tensor:
    """Latents that are functions of (seed, index): standard normal, or truncated.

    Args:
        indices: numbers of the samples.
        z_dim: latent dimension.
        seed: of the samples.
        truncation: entries are drawn from the normal distribution between -truncation and
            truncation (BigGAN's truncation trick); None for all of it.

    Returns:
        float32 [len(indices), z_dim].

    Raises:
        GanVkdError: a seed that is no whole number from 0 on, or a truncation that bounds nothing.
    """
    seed = whole_number("seed", seed)
    uniform = torch.empty(len(indices), z_dim, dtype=torch.float64)
    for row, index in zip(uniform, indices, strict=True):
        row.uniform_(generator=generator(seed, "latent", int(index)))
    if truncation is not None:
        if not (math.isfinite(truncation) and truncation > 0):
            raise GanVkdError(
                f"truncation {truncation}: write a finite number above 0, such as 0.8"
            )
        tail = torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64))
        uniform = tail + (1 - 2 * tail) * uniform
    return torch.special.ndtri(uniform.clamp(1e-12, 1 - 1e-12)).float()


def whole_number(name: str, value: object) -> int:
    """A whole number from 0 on, of any integer type.

    Raises:
        GanVkdError: anything else; `name` says what it was to be.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise GanVkdError(f"{name} {value!r}: write a whole number from 0 on")
    return number


def latents_of_seeds(
    seeds: Sequence[int], z_dim: int, truncation: float | None = None
) -> torch.Tensor:
    """The first latent of each seed, float32 [len(seeds), z_dim]."""
    return torch.cat([latents([0], z_dim, seed, truncation) for seed in seeds])


def great_circle(start: torch.Tensor, end: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Spherical interpolation (Shoemake, SIGGRAPH 1985), of which lengths are interpolated too.

    Args:
        start, end: float [..., z_dim].
        share: 0 at the start to 1 at the end; [..., 1] or a scalar.

    Returns:
        float [..., z_dim].
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1)[..., None]
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
    found = ((1 - share) * angle).sin() * start + (share * angle).sin() * end
    return found / angle.sin()


def read_latents(path: Path, z_dim: int) -> torch.Tensor:
    """Latents from a .npy file, or the one array of a .npz file, [N, z_dim] → float32.

    Raises:
        GanVkdError: no such file, or something else in it.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            (found,) = found.values()
        z = torch.from_numpy(np.ascontiguousarray(found, np.float32))
    except FileNotFoundError:
        raise GanVkdError(f"--latents {path}: no such file") from None
    except Exception as error:  # its readers raise whatever they trip over
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(f"--latents {path}: not a .npy or .npz of one array ({reason})") from None
    if z.ndim != 2 or z.shape[1] != z_dim or not len(z) or not torch.isfinite(z).all():
        raise GanVkdError(
            f"--latents {path}: holds {list(z.shape)}: this generator takes [N, {z_dim}], finite"
        )
    return z
