"""Classifiers by name: built, and kept in files that serve as teachers."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.data.images import rgb
from gan_vkd.distill.networks.mobilenet import mobilenetv2_half
from gan_vkd.distill.networks.resnet import (
    resnet8,
    resnet8x4,
    resnet20,
    resnet32x4,
    resnet50,
    wrn_40_2,
)
from gan_vkd.distill.networks.shufflenet import shufflenetv1, shufflenetv2
from gan_vkd.distill.networks.timm_classifier import TimmClassifier, timm_network
from gan_vkd.distill.networks.vgg import vgg8, vgg13
from gan_vkd.distill.outputs import Outputs
from gan_vkd.distill.small_resnet import FORMAT as FITTED
from gan_vkd.distill.small_resnet import LARGEST_IMAGE, SmallResNet, load_classifier
from gan_vkd.errors import GanVkdError
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

FORMAT = "gan_vkd-network-1"

NETWORKS = {
    "vgg13": vgg13,
    "vgg8": vgg8,
    "resnet50": resnet50,
    "resnet32x4": resnet32x4,
    "resnet8x4": resnet8x4,
    "resnet20": resnet20,
    "resnet8": resnet8,
    "wrn-40-2": wrn_40_2,
    "mobilenetv2": mobilenetv2_half,
    "shufflenetv1": shufflenetv1,
    "shufflenetv2": shufflenetv2,
}

# RepDistiller's, of CIFAR-100's training images from 0 to 1.
CIFAR_MEAN, CIFAR_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


@dataclass(frozen=True)
class Shape:
    """All that a network's weights do not tell.

    Attributes:
        name: one of `NETWORKS`, or `timm:NAME`.
        class_names: what the logits stand for.
        image_size: pixels of a side that it is fed.
        mean: of each channel, for images in 0 to 1.
        std: of each channel.
        patch_size: pixels of a transformer's patch; None: its own.
        drop_path: probability of a residual branch being left out in training.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...] = CIFAR_MEAN
    std: tuple[float, ...] = CIFAR_STD
    patch_size: int | None = None
    drop_path: float = 0.0


class Classifier(nn.Module):
    """Images of any size, -1 to 1 → `Outputs`.

    Args:
        shape: of the network.
        network: normalised images [B, 3, S, S] → `Outputs`.
    """

    def __init__(self, shape: Shape, network: nn.Module):
        super().__init__()
        self.shape, self.network = shape, network
        for name, values in (("mean", shape.mean), ("std", shape.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> Outputs:
        """[B, 1 or 3, H, W], -1 to 1; resized where the network takes another size."""
        images, size = rgb(images.float()), (self.shape.image_size,) * 2
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        images = ((images + 1) / 2 - self.mean) / self.std
        return self.network(images.contiguous(memory_format=torch.channels_last))

    @property
    def plain(self) -> nn.Module:
        """What a file's tensors belong to: the timm model, or the network itself."""
        own = isinstance(self.network, TimmClassifier)
        return self.network.model if own else self.network


def build_classifier(shape: Shape) -> Classifier:
    """A classifier at random weights.

    Raises:
        GanVkdError: unknown name, or a size that the network can't be built for.
    """
    if shape.name.startswith("timm:"):
        network = timm_network(
            shape.name, len(shape.class_names), shape.image_size, shape.patch_size, shape.drop_path
        )
    elif shape.name not in NETWORKS:
        close = difflib.get_close_matches(shape.name, NETWORKS, n=1)
        known = f"known: {', '.join(NETWORKS)}, timm:NAME"
        hint = f"did you mean {close[0]!r}?" if close else known
        raise GanVkdError(f"unknown network {shape.name!r}; {hint}")
    elif shape.patch_size is not None or shape.drop_path:
        raise GanVkdError(f"{shape.name} has neither patches nor drop path: leave both out")
    else:
        network = NETWORKS[shape.name](len(shape.class_names))
    return Classifier(shape, network)


def write_classifier(classifier: Classifier, path: Path, card: dict[str, str]) -> None:
    """Write the weights (fp32) under the names that the plain model gives them.

    Those of a timm model load with `timm.create_model(name, num_classes=...).load_state_dict(...)`.

    Args:
        classifier: on any device.
        path: a .safetensors file; replaced whole.
        card: further entries of the file's header.
    """
    shape = classifier.shape
    header = {
        "format": FORMAT,
        "network": shape.name,
        "class_names": json.dumps(shape.class_names),
        "input": json.dumps([shape.image_size, shape.mean, shape.std]),
        "patch_size": json.dumps(shape.patch_size),
        **card,
    }
    state = {name: tensor.detach().cpu() for name, tensor in classifier.plain.state_dict().items()}
    write_tensors(path, state, header)


def read_classifier(path: Path) -> Classifier:
    """What `write_classifier` or `gan-vkd teacher fit` wrote, in fp32 and eval mode.

    Raises:
        GanVkdError: no such file, or not a whole file of either kind.
    """
    if not path.is_file():
        wrong = "a folder, not a file" if path.is_dir() else "no such file"
        raise GanVkdError(
            f"--teacher file:{path}: {wrong} (gan-vkd classify writes RUN/network.safetensors, "
            "and gan-vkd teacher fit a file)"
        )
    try:
        state, header = read_tensors(path)
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise ValueError("weights that are not finite")
        if header.get("format") == FITTED:
            return _fitted(path)
        if header.get("format") != FORMAT:
            raise ValueError(f"its header does not say {FORMAT}")
        names = json.loads(header["class_names"])
        size, mean, std = json.loads(header["input"])
        patch = json.loads(header["patch_size"])
        if not (names and all(isinstance(name, str) for name in names)):
            raise ValueError("class names that are no text")
        if not (isinstance(size, int) and 1 <= size <= LARGEST_IMAGE):
            raise ValueError("a size that no such classifier has")
        if not (patch is None or (isinstance(patch, int) and 1 <= patch <= size)):
            raise ValueError("patches that no such classifier has")
        if not all(len(values) == 3 and all(map(float, values)) for values in (mean, std)):
            raise ValueError("a mean and deviation that are not of three channels")
        shape = Shape(header["network"], tuple(names), size, tuple(mean), tuple(std), patch)
        with torch.device("meta"):  # a header may claim any size: no memory before it fits
            build_classifier(shape).plain.load_state_dict(state, assign=True)
        classifier = build_classifier(shape)  # with the buffers that no file holds
        classifier.plain.load_state_dict(state)
    except GanVkdError as error:
        raise GanVkdError(f"{path}: {error}") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise GanVkdError(
            f"{path}: not a whole classifier of gan-vkd classify or teacher fit ({reason[:200]})"
        ) from None
    return classifier.float().eval()


class FittedClassifier(nn.Module):
    """A `SmallResNet` that gives `Outputs`; its maps are those of its stages, all after a ReLU."""

    def __init__(self, model: SmallResNet):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> Outputs:
        """Images [B, 3, S, S], -1 to 1 → everything."""
        maps = []
        for stage in self.model.stages:
            images = stage(images)
            maps.append(images)
        pooled = images.mean(dim=(2, 3))
        return Outputs(self.model.head(pooled), pooled, tuple(maps), tuple(maps))


def _fitted(path: Path) -> Classifier:
    model = load_classifier(path)
    half = (0.5, 0.5, 0.5)
    shape = Shape("small-resnet", model.class_names, model.image_size, half, half)
    return Classifier(shape, FittedClassifier(model)).eval()
