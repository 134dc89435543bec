"""The hinge loss."""

import torch
import torch.nn.functional as F


class HingeLoss:
    """D: E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))); G: -E D(G(z)).

    Lim and Ye, "Geometric GAN", 2017; Tran, Ranganath and Blei, NeurIPS 2017; as BigGAN uses it.
    """

    paper = "Lim and Ye 2017"
    paired = False  # real and generated images are judged apart

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [B] of real and of generated images → the two parts, scalars ≥ 0, to be added."""
        return {"d_real": F.relu(1 - real).mean(), "d_fake": F.relu(1 + fake).mean()}

    def generator(self, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [B] of generated images → a scalar, lower when they pass for real."""
        return {"g": -fake.mean()}
