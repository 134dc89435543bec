"""R2: D is flat at generated images."""

from gan_vkd.gan.terms.r1 import R1Term


class R2Term(R1Term):
    """γ/2 · E ‖∂D(A G(z))/∂G(z)‖², for D; A the augmentation.

    Mescheder, Geiger and Nowozin, "Which Training Methods for GANs do actually Converge?", ICML
    2018 (their equation 10); beside R1 in R3GAN (Huang et al., NeurIPS 2024).
    """

    by = "by_fake"
