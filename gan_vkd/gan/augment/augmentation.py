"""Policies one after another."""

from collections.abc import Sequence

import torch

from gan_vkd.config.registry import AUGMENTATIONS


class Augmentation:
    """Draws for every image its own random numbers, then applies them, policy by policy.

    Args:
        names: policies of `gan_vkd.config.registry.AUGMENTATIONS`, in their order; none leaves
            images as they are.
    """

    def __init__(self, names: Sequence[str]):
        self.policies = {name: AUGMENTATIONS[name]() for name in names}

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Each policy's random numbers for images of side `size`: [*shape, n], on the CPU."""
        return {name: policy.draw(shape, size, generator) for name, policy in self.policies.items()}

    def __call__(self, images: torch.Tensor, draws: dict[str, torch.Tensor]) -> torch.Tensor:
        """Images [B, C, S, S], -1 to 1, and draws [B, n] by policy → images of the same type."""
        for name, policy in self.policies.items():
            images = policy.apply(images, draws[name])
        return images
