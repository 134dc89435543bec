"""What a classifier makes of images: logits, and the features on the way to them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Outputs:
    """Of B images.

    Attributes:
        logits: [B, classes]; None where the network has no classifier of these classes.
        pooled: [B, d], what the classifier is given.
        maps: feature maps [B, C, H, W] from the stem to the last stage; none for transformers.
        preactivations: the same before their last ReLU, where they have one.
        tokens: [B, T, d], a transformer's last patch tokens; None for convolutional networks.
        token_logits: [B, classes] of a distillation token's head; None where there is none.
    """

    logits: torch.Tensor | None
    pooled: torch.Tensor
    maps: tuple[torch.Tensor, ...] = ()
    preactivations: tuple[torch.Tensor, ...] = ()
    tokens: torch.Tensor | None = None
    token_logits: torch.Tensor | None = None

    def of_both_heads(self) -> "Outputs":
        """With the mean of both heads' logits, where there are two."""
        if self.token_logits is None:
            return self
        return replace(self, logits=(self.logits + self.token_logits) / 2)


def changed(field: object, change: Change) -> object:
    """A field of `Outputs`, each tensor in it changed."""
    if torch.is_tensor(field):
        return change(field)
    return tuple(map(change, field)) if isinstance(field, tuple) else field
