"""Whether an image's colours look changed: a detector learned on real images, changed and not."""

import math

import numpy as np
import torch

from gan_vkd.evaluation.kept import Tensors
from gan_vkd.randomness import generator

LUMA = (0.299, 0.587, 0.114)
SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)  # of the quantiles
HUES = 12
MOST_CHANGED = 0.05  # of the images that are compared: those that look it most
LEARNT = 2_500  # real images to learn from, at most
PART = 500


def of_real_images(real: torch.Tensor, seed: int) -> Tensors:
    """The `tones` of real images as they are and with changed colours.

    Args:
        real: uint8 [N, 3, S, S].
        seed: which ones are learned from, and their changes.

    Returns:
        `learnt` and `learnt changed`, of half of the images or `LEARNT` of them; `others`, of the
        rest, and `others changed`, of at most `LEARNT` of those.
    """
    order = torch.randperm(len(real), generator=generator("colours", seed))
    half = min(LEARNT, len(real) // 2)
    parts = {"learnt": real[order[:half]], "others": real[order[half:]]}
    found = {name: tones(images) for name, images in parts.items()}
    for name, images in parts.items():
        found[f"{name} changed"] = tones(recoloured(images[:LEARNT], seed, name))
    return {name: torch.from_numpy(numbers) for name, numbers in found.items()}


class Recoloured:
    """Learns on some real images what a change of colour does, and looks at the others.

    Args:
        real: as `of_real_images` gives it.
    """

    def __init__(self, real: Tensors):
        from sklearn.ensemble import HistGradientBoostingClassifier

        self.real = {name: numbers.numpy() for name, numbers in real.items()}
        rows = [self.real[name] for name in ("learnt", "learnt changed")]
        self.model = HistGradientBoostingClassifier(random_state=0)
        self.model.fit(np.concatenate(rows), np.repeat([0, 1], len(rows[0])))

    def counts(self, judged: torch.Tensor) -> dict:
        """How many images look changed: the 5 % of all compared ones that look it most.

        The limit is that of both sides together, so where they are alike it says nothing which
        side an image above it is on.

        Args:
            judged: uint8 [M, 3, S, S].

        Returns:
            `count` of each side, how many are above the limit, and `caught`, the share of changed
            real images that would be.
        """
        others, changed = self.real["others"], self.real["others changed"]
        sides = {"judged": tones(judged), "real": others, "changed": changed}
        scores = {name: self.model.predict_proba(side)[:, 1] for name, side in sides.items()}
        both = np.concatenate([scores["judged"], scores["real"]])
        limit = np.quantile(both, 1 - MOST_CHANGED, method="higher")
        above = {name: int((score >= limit).sum()) for name, score in scores.items()}
        return {
            "count": {"judged": len(judged), "real": len(others)},
            "judged": above["judged"],
            "real": above["real"],
            "caught": above["changed"] / len(changed),
        }


def recoloured(images: torch.Tensor, seed: int, purpose: str) -> torch.Tensor:
    """Each image with its brightness, saturation, contrast or hue changed, or the first three.

    Brightness by up to half the range, saturation times 0 to 2, contrast times .5 to 1.5, as in
    DiffAugment (Zhao et al., NeurIPS 2020); hue turned about the grey axis by up to a half circle,
    as in ADA. Rounded, and cut to 0 to 255.

    Args:
        images: uint8 [N, 3, S, S].
        seed, purpose: of the changes.

    Returns:
        uint8 [N, 3, S, S].
    """
    draws = generator("recoloured", seed, purpose)
    numbers = torch.rand(4, len(images), 1, 1, 1, generator=draws)
    kind = torch.randint(5, (len(images), 1, 1, 1), generator=draws)
    x = images.float()
    x = torch.where((kind == 0) | (kind == 4), x + (numbers[0] - 0.5) * 255, x)
    grey = x.mean(dim=1, keepdim=True)
    x = torch.where((kind == 1) | (kind == 4), grey + (x - grey) * 2 * numbers[1], x)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = torch.where((kind == 2) | (kind == 4), mean + (x - mean) * (numbers[2] + 0.5), x)
    x = torch.where(kind == 3, _turned(x, (2 * numbers[3] - 1) * math.pi), x)
    return x.round().clamp(0, 255).to(torch.uint8)


def _turned(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Colours turned about the grey axis (Rodrigues): cos x + sin (k × x) + (1 - cos) grey."""
    grey, across = x.mean(dim=1, keepdim=True), (x.roll(1, dims=1) - x.roll(-1, dims=1)) / 3**0.5
    return angle.cos() * x + angle.sin() * across + (1 - angle.cos()) * grey


def tones(images: torch.Tensor) -> np.ndarray:
    """Numbers on the colours of images, whatever their place.

    Quantiles of lightness, of each channel, of chroma (the greatest channel less the least) and of
    saturation; means, deviations and covariance of the channels; shares at 0 and at 255; and of 12
    hues how much chroma they have, and how light they are.

    Args:
        images: uint8 [N, 3, S, S].

    Returns:
        float32 [N, 103].
    """
    return np.concatenate([_tones(part.float()) for part in images.split(PART)])


def _tones(x: torch.Tensor) -> np.ndarray:
    pixels = x.flatten(2)  # [N, 3, P]
    light = (pixels * torch.tensor(LUMA)[:, None]).sum(dim=1)
    greatest, chroma = pixels.amax(dim=1), pixels.amax(dim=1) - pixels.amin(dim=1)
    saturation = chroma / (greatest + 1)
    colour = pixels - pixels.mean(dim=1, keepdim=True)
    covariance = colour @ colour.transpose(1, 2) / pixels.shape[2]
    u = colour[:, 0] - colour[:, 1]
    v = (colour[:, 0] + colour[:, 1] - 2 * colour[:, 2]) / 3**0.5
    hue = ((torch.atan2(v, u) / (2 * math.pi) + 0.5) * HUES).long().clamp(0, HUES - 1)
    strength = torch.hypot(u, v)
    of_hue = torch.zeros(len(x), HUES).scatter_add_(1, hue, strength)
    lit = torch.zeros(len(x), HUES).scatter_add_(1, hue, strength * light) / (of_hue + 1)
    numbers = [
        *(_quantiles(light), _quantiles(pixels).flatten(1)),
        *(light.mean(dim=1, keepdim=True), light.std(dim=1, keepdim=True)),
        *(_quantiles(chroma), chroma.mean(dim=1, keepdim=True)),
        *(_quantiles(saturation), saturation.mean(dim=1, keepdim=True)),
        *((pixels == 0).float().mean(dim=2), (pixels == 255).float().mean(dim=2)),
        *(pixels.mean(dim=2), pixels.std(dim=2), covariance.flatten(1)),
        *(of_hue / (of_hue.sum(dim=1, keepdim=True) + 1), lit),
    ]
    return torch.cat(numbers, dim=1).numpy()


def _quantiles(values: torch.Tensor) -> torch.Tensor:
    """[..., P] → [..., 9]: values by rank, of one sorting."""
    ranks = [round(share * (values.shape[-1] - 1)) for share in SHARES]
    return values.sort(dim=-1).values[..., ranks]
