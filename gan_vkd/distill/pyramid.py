"""A frozen network's feature maps at four scales, and how frozen parts stand in a trained module.

Any model of timm gives them: the last four stages of a convolutional network, each half the side
of the one before, or four blocks of a transformer, all of one side.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.data.images import rgb
from gan_vkd.distill.teachers import teacher_kind
from gan_vkd.errors import GanVkdError

SCALES = 4


class FeaturePyramid(nn.Module):
    """Images → feature maps at four scales, the finest first; gradients flow to the images.

    Args:
        spec: the network, by a teacher's spec (`gan-vkd teacher list`).
        image_size: pixels it is fed; images are resized to that, bilinearly.
        weights: a file of its weights; None for the published ones.
        field: the group of settings that names all this, for messages.

    Attributes:
        shapes: (channels, side) of each map.

    Raises:
        GanVkdError: an unknown network, weights out of reach, one without four feature maps, or an
            input size that it can't take.
    """

    def __init__(self, spec: str, image_size: int, weights: Path | None, field: str):
        super().__init__()
        self.spec, self.image_size = spec, image_size
        try:
            backbone = teacher_kind(spec).backbone(spec, image_size, weights)
        except GanVkdError as error:
            raise GanVkdError(_renamed(str(error), field)) from None
        self.model = getattr(backbone.network, "model", None)
        if not hasattr(self.model, "forward_intermediates"):
            raise GanVkdError(
                f"{field}.backbone {spec}: gives no feature maps: choose a model of timm, such as "
                "efficientnet-lite0, clip or timm:resnet50"
            )
        self.stages = _stages(self.model)
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)
        try:
            with torch.no_grad():
                maps = self(torch.zeros(2, 3, image_size, image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:150]
            raise GanVkdError(
                f"{field}.image_size {image_size}: {spec} can't take it ({reason})"
            ) from None
        self.shapes = tuple((m.shape[1], m.shape[-1]) for m in maps)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images [B, C, S, S], -1 to 1, C = 1 or 3 → four maps [B, Cᵢ, Sᵢ, Sᵢ]."""
        images = rgb(images)
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        images = ((images + 1) / 2 - self.mean) / self.std
        return self.model.forward_intermediates(
            images.contiguous(memory_format=torch.channels_last),
            indices=self.stages,
            stop_early=True,
            intermediates_only=True,
        )


def _stages(model: nn.Module) -> list[int]:
    """Which of the model's stages or blocks give the four maps."""
    sides = [stage["reduction"] for stage in model.feature_info]
    if len(set(sides)) == len(sides) >= SCALES:
        return list(range(len(sides) - SCALES, len(sides)))
    return [len(sides) * (i + 1) // SCALES - 1 for i in range(SCALES)]


def _renamed(message: str, field: str) -> str:
    """A message about a teacher's flags as one about the settings of `field`."""
    for flag, name in (
        ("--teacher-weights", f"{field}.weights"),
        ("--teacher-size", f"{field}.image_size"),
        ("--teacher", f"{field}.backbone"),
    ):
        message = message.replace(flag, name)
    return message


class Frozen(nn.Module):
    """Holds modules that are moved with it and are no part of it: neither trained nor saved.

    They stay in eval mode and get no gradients. What is saved in their place is their SHA-256, and
    a state with another one is refused: what was trained on them would mean something else.

    Args:
        what: they are, for the message.
        modules: to hold.
    """

    def __init__(self, what: str, *modules: nn.Module):
        super().__init__()
        self.what = what
        self.modules_held = [m.eval().requires_grad_(False) for m in modules]  # not registered
        self.digest = _sha256(self.modules_held)

    def forward(self, x: torch.Tensor) -> object:
        """The modules one after another."""
        for module in self.modules_held:
            x = module(x)
        return x

    def _apply(
        self, convert: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> nn.Module:
        for module in self.modules_held:
            module._apply(convert, recurse)
        return super()._apply(convert, recurse)

    def get_extra_state(self) -> torch.Tensor:
        """The SHA-256, uint8 [32]."""
        return self.digest.clone()

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Compare with the SHA-256 of a saved state.

        Raises:
            GanVkdError: another one.
        """
        if not torch.equal(state.cpu(), self.digest):
            raise GanVkdError(
                f"the discriminator was trained on other {self.what} (SHA-256 differs): put the "
                "same backbone, weights and seed back, or start from generator.safetensors alone"
            )


def _sha256(modules: list[nn.Module]) -> torch.Tensor:
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
