"""Mirror images, as an augmentation of what D is shown."""

import torch

from gan_vkd.data.batches import mirror


class Flip:
    """Left and right are exchanged with probability ½."""

    paper = "Zhang et al., ICLR 2020"

    @staticmethod
    def draw(shape: tuple[int, ...], size: int, generator: torch.Generator) -> torch.Tensor:
        """Bool [*shape]: which images are mirrored; whatever their `size`."""
        return torch.rand(shape, generator=generator) < 0.5

    @staticmethod
    def apply(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] and draws [B] → images."""
        return mirror(images, draws)
