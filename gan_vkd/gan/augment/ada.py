"""ADA's pipeline `bgc`: flips, turns, shifts, scales and colours, each with probability p."""

import math
from collections.abc import Callable

import torch

from gan_vkd.gan.augment.controller import Controller
from gan_vkd.gan.augment.warp import warp

UNIFORM = ("flip", "quarter", "right", "down", "turn", "second turn", "luma flip", "hue")
NORMAL = ("scale", "aspect", "fraction right", "fraction down")
NORMAL += ("brightness", "contrast", "saturation")
GATES = ("flip", "quarter", "shift", "scale", "turn", "aspect", "second turn", "fraction")
GATES += ("brightness", "contrast", "luma flip", "hue", "saturation")


class Ada:
    """Flips, turns, shifts, scales and colours, each with probability p, which adapts.

    Pixels: mirror image, quarter turns, whole-pixel shifts up to an eighth of the side. Geometry:
    scale 2^N(0, .2), turn by up to a half circle, aspect 2^N(0, .2), shift N(0, .125) of the side.
    Colour: brightness N(0, .2), contrast 2^N(0, .5), luma flip, hue by up to a half circle,
    saturation 2^N(0, 1). p is the term `adaptive`'s, which comes with it.

    Karras, Aittala, Hellsten, Laine, Lehtinen and Aila, "Training Generative Adversarial Networks
    with Limited Data", NeurIPS 2020 (appendix B).
    """

    paper = "Karras et al., NeurIPS 2020"

    def __init__(self):
        self.controller: Controller | None = None  # without one p is 1

    @staticmethod
    def draw(shape: tuple[int, ...], size: int, generator: torch.Generator) -> torch.Tensor:
        """Float32 [*shape, 28]: 13 gates and 8 numbers, uniform in 0 to 1, and 7 normal ones."""
        uniform = torch.rand(*shape, len(GATES) + len(UNIFORM), generator=generator)
        return torch.cat([uniform, torch.randn(*shape, len(NORMAL), generator=generator)], dim=-1)

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] and draws [B, 28] → images, which may leave -1 to 1."""
        p = images.new_ones(()) if self.controller is None else self.controller.p
        draws = draws.to(images.dtype)
        gates, uniform, normal = draws.split([len(GATES), len(UNIFORM), len(NORMAL)], dim=-1)
        gate = dict(zip(GATES, gates.unbind(-1), strict=True))
        numbers = dict(
            zip(UNIFORM + NORMAL, [*uniform.unbind(-1), *normal.unbind(-1)], strict=True)
        )

        def gated(
            name: str, value: torch.Tensor, neutral: float, chance: torch.Tensor = p
        ) -> torch.Tensor:
            return torch.where(gate[name] < chance, value, neutral)

        with torch.autocast(images.device.type, enabled=False):
            images = warp(images, _geometry(numbers, gated, p, images.shape[-1]))
            return _recoloured(images, _colour(numbers, gated))


def _geometry(
    numbers: dict[str, torch.Tensor], gated: Callable[..., torch.Tensor], p: torch.Tensor, side: int
) -> torch.Tensor:
    """[B, 3, 3]: from pixels of the result to pixels of the image."""
    zero, one = torch.zeros_like(numbers["flip"]), torch.ones_like(numbers["flip"])

    def matrix(*rows: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.stack([torch.stack(row, -1) for row in (*rows, (zero, zero, one))], -2)

    def scaled(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return matrix((1 / x, zero, zero), (zero, 1 / y, zero))

    def turned(angle: torch.Tensor) -> torch.Tensor:
        cos, sin = angle.cos(), angle.sin()
        return matrix((cos, -sin, zero), (sin, cos, zero))

    def shifted(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return matrix((one, zero, -x), (zero, one, -y))

    def half_circle(name: str) -> torch.Tensor:
        chance = 1 - (1 - p).clamp(min=0).sqrt()  # so that either turn happens with probability p
        return gated(name, (2 * numbers[name] - 1) * math.pi, 0.0, chance)

    reach = side / 8
    quarters = gated("quarter", (4 * numbers["quarter"]).floor(), 0.0)
    shift = [gated("shift", ((2 * numbers[n] - 1) * reach).round(), 0.0) for n in ("right", "down")]
    scale = gated("scale", (0.2 * numbers["scale"]).exp2(), 1.0)
    aspect = gated("aspect", (0.2 * numbers["aspect"]).exp2(), 1.0)
    fraction = [gated("fraction", numbers[f"fraction {n}"] * reach, 0.0) for n in ("right", "down")]
    return (
        scaled(gated("flip", 1 - 2 * (2 * numbers["flip"]).floor(), 1.0), one)
        @ turned(quarters * (math.pi / 2))
        @ shifted(*shift)
        @ scaled(scale, scale)
        @ turned(half_circle("turn"))
        @ scaled(aspect, 1 / aspect)
        @ turned(half_circle("second turn"))
        @ shifted(*fraction)
    )


def _colour(numbers: dict[str, torch.Tensor], gated: Callable[..., torch.Tensor]) -> torch.Tensor:
    """[B, 4, 4]: from a pixel's homogeneous colour to that of the result."""
    like = numbers["flip"]
    unit = torch.eye(4, dtype=like.dtype, device=like.device)
    ones = unit[:3].sum(dim=0)
    luma = torch.outer(ones, ones) / 3  # the projection to grey
    chroma = torch.diag(ones) - luma
    cross = torch.cross(unit[:3, :3], (ones[:3] / math.sqrt(3)).expand(3, 3), dim=1)
    around = torch.nn.functional.pad(-cross.T, (0, 1, 0, 1))  # the cross product with grey's axis

    def each(value: torch.Tensor) -> torch.Tensor:
        return value[:, None, None]

    brightness = each(gated("brightness", 0.2 * numbers["brightness"], 0.0))
    contrast = each(gated("contrast", (0.5 * numbers["contrast"]).exp2(), 1.0))
    flip = each(gated("luma flip", (2 * numbers["luma flip"]).floor(), 0.0))
    hue = each(gated("hue", (2 * numbers["hue"] - 1) * math.pi, 0.0))
    saturation = each(gated("saturation", numbers["saturation"].exp2(), 1.0))
    last = unit - torch.diag(ones)
    lightened = unit + brightness * torch.outer(ones, unit[3])
    contrasted = last + contrast * torch.diag(ones)
    flipped = unit - 2 * flip * luma
    turned = last + luma + hue.cos() * chroma + hue.sin() * around
    saturated = last + luma + saturation * chroma
    return saturated @ turned @ flipped @ contrasted @ lightened


def _recoloured(images: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """Images [B, C, H, W] by [B, 4, 4]; grey ones by the mean of the three colours' rows."""
    flat = images.flatten(2)
    if images.shape[1] == 1:
        row = colour[:, :3].mean(dim=1, keepdim=True)
        moved = flat * row[:, :, :3].sum(dim=2, keepdim=True) + row[:, :, 3:]
    else:
        moved = colour[:, :3, :3] @ flat + colour[:, :3, 3:]
    return moved.view_as(images)
