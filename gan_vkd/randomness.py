"""Stateless randomness: every draw is a function of (seed, purpose, index).

No generator state is ever saved. A resumed run asks for the same keys and gets the same draws,
and so does a run on another number of processes, or on another device: draws are made on the CPU.
A student's drop path alone draws by the networks' own generator, apart in each process.
"""

import hashlib
import operator

import torch


def seed_for(*key: int | str) -> int:
    """A 63-bit seed that depends on every part of `key`, for example `(seed, "latents", step)`.

    Integers of any type count by their value.

    Raises:
        TypeError: a part that is neither text nor an integer.
    """
    plain = tuple(part if isinstance(part, str) else operator.index(part) for part in key)
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose stream is a function of `key` alone."""
    return torch.Generator().manual_seed(seed_for(*key))
