"""MIND: the sliced Wasserstein distance between feature sets (Berthet et al., arXiv 2605.06797).

3 d / M · Σ over M directions of the squared one-dimensional Wasserstein distance, which sorting
gives: the mean squared difference of the sorted projections. Like FID it is 0 for equal sets and
above 0 for two samples of one distribution.
"""

import torch

from gan_vkd.evaluation.distances import block_type
from gan_vkd.evaluation.intervals import of_mean
from gan_vkd.randomness import generator

DIRECTIONS = 1_000
AT_ONCE = 50  # directions


def mind(
    judged: torch.Tensor,
    reference: torch.Tensor,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> tuple[float, float]:
    """The distance and its standard error over the sampling of the judged images.

    The error is of first order. An image moves the squared distance along a direction by the
    Kantorovich potential at its projection, whose derivative is twice the way that it is
    transported. As for the Fréchet distance the real images are held fixed.

    Args:
        judged: features [N, d].
        reference: features [N, d] of as many real images.
        seed: of the directions.
        device: where projections are computed and sorted.

    Raises:
        ValueError: two counts.
    """
    if len(judged) != len(reference):
        raise ValueError(f"MIND takes as many of each, got {len(judged)} and {len(reference)}")
    device = torch.device(device)
    dim = judged.shape[1]
    directions = torch.randn(dim, DIRECTIONS, generator=generator(seed, "mind"))
    directions = (directions / directions.norm(dim=0)).to(device, block_type(device))
    ours, theirs = (side.to(device, block_type(device)) for side in (judged, reference))
    value, influence = 0.0, torch.zeros(len(judged), dtype=torch.float64, device=device)
    for part in directions.split(AT_ONCE, dim=1):
        found, places = (part.T @ ours.T).double().sort(dim=1)
        away = found - (part.T @ theirs.T).double().sort(dim=1).values
        value += float(away.square().mean(dim=1).sum())
        steps = (away[:, 1:] + away[:, :-1]) * found.diff(dim=1)  # of the potential
        potential = torch.nn.functional.pad(steps.cumsum(dim=1), (1, 0))
        influence.index_add_(0, places.flatten(), potential.flatten())
    scale = 3 * dim / DIRECTIONS
    return scale * value, scale * of_mean(influence.cpu().numpy())
