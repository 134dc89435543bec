"""What a classifier makes of images: logits, and the features on the way to them."""

from dataclasses import dataclass

import torch


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
