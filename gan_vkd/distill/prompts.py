"""What stands for a class in a teacher's features: its name's by CLIP, or its images' mean."""

from collections.abc import Iterable

import torch

from gan_vkd.errors import GanVkdError

MODEL, WEIGHTS = "ViT-B-32-quickgelu", "openai"  # open_clip's names of the teacher `clip`


def prompt_features(class_names: tuple[str, ...], prompt: str) -> torch.Tensor:
    """CLIP's text features [K, 512] of `prompt` with each class's name in place of its braces.

    Not normalised; by the package open_clip, which keeps CLIP's weights in its own cache.

    Raises:
        GanVkdError: open_clip is not installed, or its weights can't be had.
    """
    instead = "or take the classes' mean images: --set distill.anchors=prototypes"
    try:
        import open_clip
    except ImportError:
        raise GanVkdError(
            f"distill.anchors prompts: needs open_clip: pip install 'gan_vkd[clip]', {instead}"
        ) from None
    try:
        model = open_clip.create_model(MODEL, pretrained=WEIGHTS).eval()
        tokens = open_clip.get_tokenizer(MODEL)(prompts(class_names, prompt))
    except Exception as error:  # whatever its download raises
        reason = " ".join(str(error).split())[:120]
        raise GanVkdError(
            f"distill.anchors prompts: open_clip gives no {MODEL} of {WEIGHTS} ({reason}): fetch "
            f"it where there is a network, {instead}"
        ) from None
    with torch.no_grad():
        return model.encode_text(tokens).float()


def prompts(class_names: tuple[str, ...], prompt: str) -> list[str]:
    """The texts: names with spaces for underscores, in place of the braces of `prompt`."""
    return [prompt.replace("{}", name.replace("_", " ")) for name in class_names]


def prototypes(
    features: Iterable[torch.Tensor], labels: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """Each class's mean of features less the mean of the classes: [num_classes, d].

    The mean of all is taken off since image features have a large common part, which text features
    are not compared with; with it all images would be alike to all classes.

    Args:
        features: [b, d] of images, part by part.
        labels: int64 [N], of all these images in their order.
        num_classes: one without images gets zeros.
    """
    every = torch.cat([part.double().cpu() for part in features])
    one_hot = torch.nn.functional.one_hot(labels.cpu(), num_classes).double()
    counts = one_hot.sum(dim=0)[:, None]
    means = one_hot.T @ every / counts.clamp_min(1)
    centre = means.sum(dim=0) / (counts > 0).sum()
    return torch.where(counts > 0, means - centre, 0).float()
