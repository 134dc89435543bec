"""The relativistic pairing loss."""

import torch
import torch.nn.functional as F


class RelativisticLoss:
    """D: E softplus(D(G(z)) - D(x)); G: E softplus(D(x) - D(G(z))); x and G(z) of one class.

    Each generated image is compared with one real image of its class. G's step compares with the
    real images of the iteration's last step of D. The terms `r1` and `r2` belong to it.

    Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019; Huang, Gokaslan, Kuleshov and
    Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), NeurIPS 2024.
    """

    paper = "Huang et al., NeurIPS 2024"
    paired = True  # generated images have the classes of the real ones that they are compared with

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [B] of real and of generated images, pair by pair → a scalar."""
        return {"d": F.softplus(fake - real).mean()}

    def generator(self, fake: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [B] of generated and of real images → a scalar, lower when they pass for real."""
        return {"g": F.softplus(real - fake).mean()}
