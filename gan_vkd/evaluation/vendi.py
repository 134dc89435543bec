"""The Vendi score: the effective number of different images (Friedman and Dieng, TMLR 2023).

exp of the entropy of the eigenvalues of K / N, K the cosine similarities of N images' features.
K / N = X Xᵀ / N shares its eigenvalues other than 0 with XᵀX / N, which is d x d. It needs no real
images and knows nothing of quality: noise is diverse.
"""

import numpy as np
import torch

from gan_vkd.evaluation.intervals import of_mean


def vendi(features: np.ndarray, device: torch.device | str = "cpu") -> tuple[float, float]:
    """The logarithm of the score, which is an entropy, and its standard error.

    The error is of first order: an image with unit features x moves the entropy by
    -xᵀ log(XᵀX / N) x less the entropy.

    Args:
        features: [N, d].
        device: where products and the decomposition are computed.
    """
    points = torch.from_numpy(features).to(device).double()
    points = points / points.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    values, vectors = torch.linalg.eigh(points.T @ points / len(points))
    kept = values > len(values) * torch.finfo(torch.float64).eps * values[-1]
    logarithms = values[kept].log()
    surprise = -(points @ vectors[:, kept]).square() @ logarithms
    return float(-(values[kept] * logarithms).sum()), of_mean(surprise.cpu().numpy())
