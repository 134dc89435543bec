"""Training a BigGAN with or without a teacher: the two steps, the loop, what a run leaves."""
