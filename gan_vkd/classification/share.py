"""A student in several processes, each of which has its share of every batch.

What networks make of the shares is put together, so losses, methods and what is logged are those
of the whole batch, computed in every process alike.
"""

from collections.abc import Callable

import torch
from torch import nn

from gan_vkd.distill.outputs import Outputs, changed
from gan_vkd.engine.batch_norm import share_batch_norms
from gan_vkd.engine.share import Share

See = Callable[[torch.Tensor], Outputs]


class ClassifierShare(Share):
    """A process's share of each batch of a classifier's training."""

    def student(self, network: nn.Module, see: See) -> See:
        """`see`, called with this process's images, answering for all.

        From here on the batch norms of `network`, which it calls, go over the whole batch.

        Raises:
            GanVkdError: batch norms that can't.
        """
        if len(self.sizes) > 1:
            share_batch_norms(network)
        return self.teacher(see)

    def teacher(self, see: See) -> See:
        """`see`, called with this process's images, answering for all."""
        if len(self.sizes) == 1:
            return see
        return lambda images: _OutputsOfAll(see(images), self)


class _OutputsOfAll:
    """`Outputs` of the whole batch: a field is put together when it is asked for first."""

    def __init__(self, own: Outputs, share: Share):
        self._own, self._share = own, share

    def __getattr__(self, field: str) -> object:  # asked for what is not there yet
        found = changed(getattr(self._own, field), self._share.together)
        setattr(self, field, found)
        return found
