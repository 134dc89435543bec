"""Hashes of images."""

import hashlib

import torch


def content_sha256(images: torch.Tensor) -> str:
    """The hash of uint8 images [N, 3, H, W], on the CPU."""
    return hashlib.sha256(images.contiguous().numpy()).hexdigest()


def digests(images: torch.Tensor) -> list[bytes]:
    """A hash of 16 bytes per image, of uint8 images [N, 3, H, W] on the CPU."""
    pixels = images.contiguous().numpy()  # to iterate over a tensor would make all views at once
    return [hashlib.blake2b(image, digest_size=16).digest() for image in pixels]
