"""The players of a GAN in several processes, each of which has its share of every batch.

The step of training is that of one process: `discriminator` and `teacher` answer for the whole
batch, so losses, terms and what is logged are computed from all images, in every process alike.
"""

from collections.abc import Callable

import torch
from torch import nn

from gan_vkd import processes
from gan_vkd.engine.batch_norm import BatchNormApart
from gan_vkd.engine.share import Share
from gan_vkd.gan.networks.biggan import Generator


class GanShare(Share):
    """A process's share of each batch of a GAN's training."""

    def generator(self, network: Generator) -> Generator:
        """`network`, its batch norms over the whole batch."""
        for norm in network.batch_norms():
            norm.shared = len(self.sizes) > 1
        return network

    def teacher(self, see: Callable[[torch.Tensor], torch.Tensor]) -> Callable:
        """`see`, called with this process's images, answering for all."""
        return lambda images: self.together(see(images))

    def discriminator(self, network: nn.Module) -> nn.Module:
        """`network`, called with this process's images and labels, answering for all.

        Its batch norms take each kind of images by itself, over the whole batch.
        """
        if len(self.sizes) == 1:
            return network
        for norm in network.modules():
            if isinstance(norm, BatchNormApart):
                norm.shared, norm.batch_size = True, self.sizes[processes.rank()]
        return _OfAll(network, self)


class _OfAll(nn.Module):
    """A discriminator's logits and features h of the whole batch, each process with its images."""

    def __init__(self, network: nn.Module, share: Share):
        super().__init__()
        self.network, self.share = network, share

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.share.together(self.network.features(images))
        return self.network.decide(features, self.share.together(labels))
