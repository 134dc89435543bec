"""BigGAN for 16, 32 and 64 pixels, its losses, and the generator as it is handed out."""
