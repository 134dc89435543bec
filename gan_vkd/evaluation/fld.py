"""FLD, feature likelihood divergence: how likely held-out images are around the generated ones.

Jiralerspong et al., "Feature Likelihood Divergence: Evaluating the Generalization of Generative
Models Using Samples", NeurIPS 2023 (arXiv 2302.04440, section 3). A mixture of isotropic Gaussians
has one component on each generated image. The variances maximise the likelihood of the training
images: a copy of a training image gets next to none, and then no held-out image is likely there.
Poor images get wide components, and images that lack a kind of real ones leave it unlikely. So the
one number sees quality, diversity and memorisation, and does not say which of them is at fault.
"""

import math

import numpy as np
import torch

from gan_vkd.evaluation.distances import block_type
from gan_vkd.evaluation.kept import Tensors, of_real
from gan_vkd.progress import QUIET, Reporter
from gan_vkd.randomness import generator

FITTED = 10_000  # training images at most that variances are fitted to
ROWS = 64  # of a block
NOTHING = -80.0  # logarithm of a share that is none; exp takes far longer where it underflows
STEPS, RATE = 50, 0.5  # of Adam, at most
FEWEST_STEPS = 7
SETTLED, LOOKED_BACK = 5e-4, 4  # no loss of so many steps before differs by more
LEAST = 1e-3  # squared distance: so far away is the nearest training image, for the first variance
NARROWEST = 40.0  # logarithm of a variance, either side of 0
ORIGIN = 0.9  # of the distance to the training images' mean, for the component that holds all
SCALE = 100.0
CPU = torch.device("cpu")


def feature_likelihood_divergence(
    judged: np.ndarray,
    training: np.ndarray,
    unseen: np.ndarray,
    *,
    seed: int,
    device: torch.device = CPU,
    reporter: Reporter = QUIET,
) -> tuple[float, float]:
    """100 / d times the held-out images' negative log-likelihood, less a generator's of real ones.

    That generator's images are half of the training images, or a draw of M from it; its variances
    are fitted to the rest. So 0 is what fresh real images get unless they are more than that half,
    and more is worse. Features are standardised by the held-out images' means and deviations; those
    that do not vary are left out.

    Args:
        judged: features [M, d], at least two.
        training: features [N, d], at least four.
        unseen: features [P, d] of held-out real images, at least two.
        seed: of the draw of the halves, and of `FITTED` training images where there are more.
        device: where densities are computed.
        reporter: shows a bar.

    Returns:
        The divergence, and its standard error over the sampling of generated and held-out images,
        of first order, with the variances held fixed. Not known where no feature varies.
    """
    kind = block_type(device)
    varying = np.ptp(unseen, axis=0) > 0
    if not varying.any():
        return math.nan, math.nan
    mean = unseen.mean(axis=0, dtype=np.float64)
    deviation = unseen.std(axis=0, ddof=1, dtype=np.float64)
    ours, known, others = (
        torch.from_numpy((side[:, varying] - mean[varying]) / deviation[varying]).to(device)
        for side in (judged, training, unseen)
    )
    known = known[torch.randperm(len(known), generator=generator(seed, "fld")).to(device)]

    def of_halves() -> Tensors:
        half = min(len(ours), len(known) // 2)
        found, _ = _likelihoods(known[:half], known[half:][:FITTED], others, kind, reporter)
        return {"likelihoods": found.cpu()}

    settings = (seed, min(len(ours), len(known) // 2), FITTED, STEPS)
    kept = of_real("fld", (training, unseen), settings, device, of_halves, reporter)
    found, shares = _likelihoods(ours, known[:FITTED], others, kind, reporter)
    gain = kept["likelihoods"] - found.cpu()
    variances = gain.var() / len(gain), shares.var().cpu() / len(shares)
    scale = SCALE / ours.shape[1]
    return scale * float(gain.mean()), scale * math.sqrt(sum(variances))


def _likelihoods(
    centres: torch.Tensor,
    training: torch.Tensor,
    points: torch.Tensor,
    kind: torch.dtype,
    reporter: Reporter,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The points' log-likelihoods [P], and the mean share of a point that each centre has, x M."""
    dim = centres.shape[1]
    to_mean = (training - training.mean(dim=0)).square().sum(dim=1).to(kind)
    variances = fitted(_squared(training, centres, kind), to_mean, dim, reporter)
    found, shares = [], torch.zeros(len(centres), dtype=torch.float64, device=centres.device)
    for block in _squared(points, centres, kind):
        likelihoods, parts, totals = _shares(_components(block, variances, dim))
        found.append(likelihoods)
        shares += ((1 / totals) @ parts).double()
    return torch.cat(found).double(), shares * len(centres) / len(points)


def fitted(
    blocks: list[torch.Tensor], to_mean: torch.Tensor, dim: int, reporter: Reporter = QUIET
) -> torch.Tensor:
    """The logarithms of the variances [M] that make the training images likely, by Adam.

    While they are fitted, one more component around the training images' mean, with a variance of
    its own, holds what no centre is near to. It is at nine tenths of its distance.

    Args:
        blocks: squared distances of training images to centres, rows of [N, M].
        to_mean: those to the training images' mean, [N].
        dim: d.
        reporter: shows a bar.
    """
    nearest = torch.stack([block.amin(dim=0) for block in blocks]).amin(dim=0)
    logs = ((nearest + LEAST) / dim).log()
    origin = torch.zeros((), dtype=logs.dtype, device=logs.device)
    adam, losses = torch.optim.Adam([logs, origin], lr=RATE), []
    with reporter.bar("Variances", STEPS) as bar:
        for _ in range(STEPS):
            losses.append(0.0)
            logs.grad, origin.grad = torch.zeros_like(logs), torch.zeros_like(origin)
            for block, distances in zip(blocks, to_mean.split(ROWS), strict=True):
                far = ORIGIN**2 * distances
                around = _density(far, origin, dim)
                likelihoods, parts, totals = _shares(_components(block, logs, dim), around)
                losses[-1] -= float(likelihoods.sum())
                each, held = 1 / totals, (around - likelihoods).exp()
                logs.grad += (each @ parts) * dim - each @ parts.mul_(block) * (-logs).exp()
                origin.grad += (held * (dim - far * (-origin).exp())).sum()
            for gradient in (logs.grad, origin.grad):
                gradient /= 2 * len(to_mean) * dim
            losses[-1] /= len(to_mean) * dim
            adam.step()
            logs.clamp_(-NARROWEST, NARROWEST)
            bar.advance(1)
            before = losses[-1 - LOOKED_BACK : -1]
            settled = all(abs(losses[-1] - each) < SETTLED for each in before)
            if settled and len(losses) >= FEWEST_STEPS:
                bar.advance(STEPS - len(losses))
                break
    return logs


def _squared(points: torch.Tensor, centres: torch.Tensor, kind: torch.dtype) -> list[torch.Tensor]:
    """Squared distances of [P, d] to [M, d], computed in float64, in blocks [`ROWS`, M]."""
    norms = centres.square().sum(dim=1)
    return [
        torch.addmm(norms, part, centres.T, alpha=-2)
        .add_(part.square().sum(dim=1, keepdim=True))
        .clamp_(min=0)
        .to(kind)
        for part in points.split(ROWS)
    ]


def _shares(
    parts: torch.Tensor, beside: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-likelihoods [P], and what each component has of them: [P, M], over totals [P].

    Args:
        parts: logarithms of components, [P, M], which are overwritten.
        beside: that of one more component, [P].
    """
    top = parts.amax(dim=1) if beside is None else torch.maximum(parts.amax(dim=1), beside)
    parts.sub_(top[:, None]).clamp_(min=NOTHING).exp_()
    totals = parts.sum(dim=1) if beside is None else parts.sum(dim=1) + (beside - top).exp()
    return top + totals.log(), parts, totals


def _components(block: torch.Tensor, logs: torch.Tensor, dim: int) -> torch.Tensor:
    """Logarithms of each component's density, by its weight, [P, M]."""
    return _density(block, logs, dim) - math.log(len(logs))


def _density(squares: torch.Tensor, logs: torch.Tensor, dim: int) -> torch.Tensor:
    """Logarithms of isotropic Gaussians of log variances `logs`, at squared distances."""
    constant = -dim / 2 * (logs + math.log(2 * math.pi))
    return torch.addcmul(constant, squares, (-logs).exp(), value=-0.5)
