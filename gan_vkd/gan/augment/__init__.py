"""Differentiable augmentation: random numbers are drawn first, then applied."""
