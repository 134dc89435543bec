"""The hinge loss (Lim and Ye 2017; Tran, Ranganath and Blei 2017), as BigGAN uses it."""

import torch
import torch.nn.functional as F


def hinge_discriminator(
    real_logits: torch.Tensor, fake_logits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B] of real and of generated images → the two terms, scalars ≥ 0."""
    return F.relu(1 - real_logits).mean(), F.relu(1 + fake_logits).mean()


def hinge_generator(fake_logits: torch.Tensor) -> torch.Tensor:
    """Logits [B] of generated images → scalar, lower when they pass for real."""
    return -fake_logits.mean()
