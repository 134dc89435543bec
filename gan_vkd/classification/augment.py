"""How training images are changed: shifted or cropped, mirrored, mixed; on the device.

What is drawn is a function of a generator, in tensors of fixed shapes, and applied in
`apply` and `mix` without asking the device.
"""

import math

import torch
import torch.nn.functional as F

from gan_vkd.data.batches import mirror, shift
from gan_vkd.distill.methods.draws import uniform_integers

Tensors = dict[str, torch.Tensor]

LEAST_AREA, LEAST_ASPECT = 0.08, 3 / 4  # of a random crop, as in Inception's and DeiT's training
ERASED, LEAST_ERASED, MOST_ERASED, ERASED_ASPECT = 0.25, 0.02, 1 / 3, 0.3  # timm's, in DeiT


class Augmentation:
    """Draws and applies one of the recipes' augmentations.

    * `crop`: shifts by up to an eighth of the side, which lets black in, as a crop of 32 pixels out
      of a padded 40.
    * `deit`: a random crop of 8 to 100 % of the area and 3/4 to 4/3 in aspect, resized; then, for a
      quarter of the images, noise over a rectangle. DeiT's RandAugment is not part of it.
    * `none`.

    Each is followed, or not, by mirroring, mixup and CutMix (`mix`).

    Args:
        kind: one of these.
        flip: whether half of the images are mirrored.
        mixup: α of the Beta distribution of mixup's share; 0: no mixup.
        cutmix: α of CutMix's; 0: no CutMix. Where both are, each batch takes one of them.
    """

    def __init__(self, kind: str, flip: bool, mixup: float, cutmix: float):
        self.kind, self.flip, self.mixup, self.cutmix = kind, flip, mixup, cutmix
        self.mixes = bool(mixup or cutmix)

    def draw(self, count: int, size: int, generator: torch.Generator) -> Tensors:
        """All numbers for a batch of `count` images of `size` pixels, on the CPU."""
        drawn = {"mirrored": (torch.rand(count, generator=generator) < 0.5) & self.flip}
        if self.kind == "crop":
            reach = size // 8
            drawn["offsets"] = torch.randint(-reach, reach + 1, (count, 2), generator=generator)
        if self.kind == "deit":
            uniform = torch.rand(8, count, generator=generator)
            drawn["crops"] = _boxes(uniform[:4], (LEAST_AREA, 1.0), LEAST_ASPECT)
            erased = _boxes(uniform[4:], (LEAST_ERASED, MOST_ERASED), ERASED_ASPECT)
            chosen = torch.rand(count, generator=generator) < ERASED
            drawn["erased"] = erased * chosen[:, None]
            drawn["noise"] = torch.randint(2**62, (1,), generator=generator)
        if self.mixes:
            drawn["mixed box"], drawn["share"] = self._mixing(generator)
        return drawn

    def _mixing(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A box [4] (empty for mixup), and the share [1] that an image keeps of itself."""
        cuts = bool(self.cutmix)
        if self.mixup and self.cutmix:
            cuts = bool(torch.rand((), generator=generator) < 0.5)
        share = _beta(self.cutmix if cuts else self.mixup, generator)
        places = torch.rand(2, generator=generator)
        if not cuts:
            return torch.zeros(4), torch.tensor([share])
        side = math.sqrt(1 - share)
        low = (places - side / 2).clamp(0, 1)
        high = (places + side / 2).clamp(0, 1)
        kept = 1 - (high - low).prod()
        return torch.cat([low, high]), kept.reshape(1)

    def apply(self, images: torch.Tensor, drawn: Tensors) -> torch.Tensor:
        """Float images [B, 3, S, S], -1 to 1, as they are drawn to be; same shape."""
        if self.kind == "crop":
            images = shift(images + 1, drawn["offsets"]) - 1  # what comes in is black
        elif self.kind == "deit":
            images = _resized(images, drawn["crops"])
            levels = torch.full((), 2**16, device=images.device)
            noise = uniform_integers(drawn["noise"], tuple(images.shape), levels) / 2**15 - 1
            images = torch.where(_within(drawn["erased"], images), noise, images)
        return mirror(images, drawn["mirrored"]) if self.flip else images

    def mix(self, images: torch.Tensor, drawn: Tensors) -> torch.Tensor:
        """Each image mixed with the one as far from the batch's end, which keeps 1 - share."""
        if not self.mixes:
            return images
        others, share, box = images.flip(0), drawn["share"], drawn["mixed box"]
        blended = share * images + (1 - share) * others
        cut = torch.where(_within(box.expand(len(images), 4), images), others, images)
        return torch.where((box == 0).all(), blended, cut)


def _boxes(uniform: torch.Tensor, area: tuple[float, float], least_aspect: float) -> torch.Tensor:
    """Uniform [4, B] → boxes [B, 4], top, left, bottom, right as shares of the side.

    Area and the logarithm of the aspect are uniform; sides are cut to 1 and the place is uniform
    within the image.
    """
    wanted = area[0] + (area[1] - area[0]) * uniform[0]
    aspect = torch.exp(math.log(least_aspect) * (1 - 2 * uniform[1]))
    sides = torch.stack([(wanted / aspect).sqrt(), (wanted * aspect).sqrt()], dim=1).clamp(max=1)
    starts = uniform[2:].T * (1 - sides)
    return torch.cat([starts, starts + sides], dim=1)


def _resized(images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Images [B, C, S, S] → what lies in each one's box [B, 4], enlarged to all of it."""
    low, high = boxes.split(2, dim=1)
    scale, centre = (high - low).flip(1), (high + low - 1).flip(1)  # x before y
    matrices = torch.cat([torch.diag_embed(scale), centre[:, :, None]], dim=2)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, "bicubic", "reflection", align_corners=False).clamp(-1, 1)


def _within(boxes: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Bool [B, 1, S, S]: the pixels whose centres lie in each image's box [B, 4]."""
    side = images.shape[-1]
    centres = (torch.arange(side, device=images.device) + 0.5) / side
    low, high = boxes.split(2, dim=1)
    inside = (centres >= low[:, :, None]) & (centres < high[:, :, None])  # [B, 2, S]
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A draw of Beta(α, α), by two of Gamma(α) (Marsaglia and Tsang, 2000)."""
    first, second = _gamma(alpha, generator), _gamma(alpha, generator)
    return first / (first + second) if first + second else 0.5


def _gamma(alpha: float, generator: torch.Generator) -> float:
    if alpha < 1:
        lift = torch.rand((), generator=generator).item() ** (1 / alpha)
        return lift * _gamma(alpha + 1, generator)
    d = alpha - 1 / 3
    while True:
        x = torch.randn((), generator=generator, dtype=torch.float64).item()
        v = (1 + x / math.sqrt(9 * d)) ** 3
        u = torch.rand((), generator=generator, dtype=torch.float64).item()
        if v > 0 and math.log(u or 1e-300) < x * x / 2 + d - d * v + d * math.log(v):
            return d * v
