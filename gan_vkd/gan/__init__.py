"""BigGAN for 16, 32 and 64 pixels: networks, losses, terms, steps, the exported generator."""
