"""BigGAN for 16 to 256 pixels: networks, losses, terms, steps, the exported generator."""
