"""Pretrained networks and their taps: pooled features, feature maps, tokens, submodules.

A network here holds a `model` and maps normalised images [B, 3, S, S] to a dict: `pooled` [B, d],
and where there is such, `map` [B, C, H, W], the last feature map before pooling, or `tokens`
[B, T, d], a transformer's last, without class and register tokens.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from gan_vkd.distill.small_resnet import SmallResNet


@contextmanager
def outputs(model: nn.Module, paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The outputs of the submodules at `paths` while the block runs, of their last calls.

    A tensor is copied, since what follows in the network may write over it.
    """
    found: dict[str, Any] = {}

    def watch(path: str) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, _inputs: tuple, output: Any) -> None:
            found[path] = output.clone() if torch.is_tensor(output) else output

        return model.get_submodule(path).register_forward_hook(keep)

    handles = [watch(path) for path in paths]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


class TimmNetwork(nn.Module):
    """A timm model; `pooled` is its classifier's input or, with `head`, its output.

    Args:
        model: with `forward_features` and `forward_head`.
        head: for models whose last layer is a projection, not a classifier.
    """

    def __init__(self, model: nn.Module, head: bool = False):
        super().__init__()
        self.model, self.head = model, head
        self.channels_last = getattr(model, "output_fmt", None) == "NHWC"
        has_class_token = getattr(model, "global_pool", None) == "token"
        self.prefix = getattr(model, "num_prefix_tokens", int(has_class_token))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """As the module says."""
        features = self.model.forward_features(images)
        taps = {"pooled": self.model.forward_head(features, pre_logits=not self.head)}
        if torch.is_tensor(features) and features.ndim == 4:
            taps["map"] = features.permute(0, 3, 1, 2) if self.channels_last else features
        if torch.is_tensor(features) and features.ndim == 3 and features.shape[1] > self.prefix:
            taps["tokens"] = features[:, self.prefix :]
        return taps


class TorchvisionNetwork(nn.Module):
    """A torchvision classifier without its last linear layer.

    `map` is what its `avgpool` is given, where it has one; a vision transformer has `tokens`.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.places = model, {}
        if hasattr(model, "avgpool"):
            model.avgpool = nn.Sequential(nn.Identity(), model.avgpool)  # the first to be tapped
            self.places["map"] = "avgpool.0"
        if hasattr(model, "encoder"):
            self.places["tokens"] = "encoder"

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """As the module says."""
        with outputs(self.model, self.places.values()) as found:
            taps = {"pooled": self.model(images)}
        taps |= {name: found[path] for name, path in self.places.items()}
        if "tokens" in taps:
            taps["tokens"] = taps["tokens"][:, 1:]  # without the class token
        return taps


class FittedNetwork(nn.Module):
    """A classifier of `gan-vkd teacher fit`."""

    def __init__(self, model: SmallResNet):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """As the module says."""
        features = self.model.stages(images)
        return {"pooled": features.mean(dim=(2, 3)), "map": features}
