"""Stateless randomness: every draw is a function of (seed, purpose, index).

No generator state is ever saved. A resumed run asks for the same keys and gets the same draws,
and so does a run on another number of processes, or on another device: draws are made on the CPU.
"""

import hashlib

import torch


def seed_for(*key: int | str) -> int:
    """A 63-bit seed that depends on every part of `key`, for example `(seed, "latents", step)`."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose stream is a function of `key` alone."""
    return torch.Generator().manual_seed(seed_for(*key))
