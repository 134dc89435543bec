"""timm's models as classifiers whose feature maps and tokens can be distilled."""

import difflib

import torch
from torch import nn

from gan_vkd.distill.outputs import Outputs
from gan_vkd.errors import GanVkdError


class TimmClassifier(nn.Module):
    """A timm model that gives `Outputs`.

    Of a convolutional network the maps are those of the stem and its stages; where a model gives
    none of its stem (ConvNeXt, Swin), its first stage's stands in for it. Of a transformer the
    tokens are the last block's, without class and distillation tokens. DeiT's distilled form has a
    head for each of the two; its logits are the mean of both in eval mode and the class token's in
    training, and `pooled` is the class token.

    Args:
        model: with `forward_features` and `forward_head`.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.distilled = hasattr(model, "head_dist")
        self.tokens = hasattr(model, "num_prefix_tokens")
        info = getattr(model, "feature_info", None)
        self.stemless = bool(info) and info[0]["reduction"] > 2  # the first map is a stage's

    def forward(self, images: torch.Tensor) -> Outputs:
        """Normalised images [B, 3, S, S] → everything."""
        if self.tokens:
            return self._of_tokens(self.model.forward_features(images))
        if hasattr(self.model, "forward_intermediates"):
            features, maps = self.model.forward_intermediates(images)
        else:
            features, maps = self.model.forward_features(images), []
        maps = (*maps[:1], *maps) if self.stemless else tuple(maps)
        pooled = self.model.forward_head(features, pre_logits=True)
        logits = self.model.get_classifier()(pooled)
        return Outputs(logits, pooled, maps, maps)

    def _of_tokens(self, features: torch.Tensor) -> Outputs:
        tokens = features[:, self.model.num_prefix_tokens :]
        if not self.distilled:
            pooled = self.model.forward_head(features, pre_logits=True)
            return Outputs(self.model.get_classifier()(pooled), pooled, tokens=tokens)
        logits = self.model.head(features[:, 0])
        token_logits = self.model.head_dist(features[:, 1])
        if not self.training:
            logits = (logits + token_logits) / 2
        return Outputs(logits, features[:, 0], tokens=tokens, token_logits=token_logits)


def timm_network(
    spec: str, num_classes: int, image_size: int, patch_size: int | None, drop_path: float
) -> TimmClassifier:
    """A model of timm at random weights.

    Args:
        spec: `timm:NAME`.
        num_classes: logits.
        image_size: pixels it is fed.
        patch_size: of a transformer, where it is not the model's own.
        drop_path: probability of a residual branch being left out in training.

    Raises:
        GanVkdError: unknown name, or options that the model does not take.
    """
    import timm

    name = spec.partition(":")[2]
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise GanVkdError(f"timm has no model {architecture!r}{hint}")
    options: dict = {"drop_path_rate": drop_path} if drop_path else {}
    if timm.get_pretrained_cfg(architecture).fixed_input_size:
        options["img_size"] = image_size
    if patch_size is not None:
        if image_size % patch_size:
            raise GanVkdError(f"{spec}: patches of {patch_size} do not fill {image_size} pixels")
        options["patch_size"] = patch_size
    try:
        model = timm.create_model(architecture, num_classes=num_classes, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise GanVkdError(
            f"{spec} can't be built for {image_size} pixels"
            f"{'' if patch_size is None else f' and patches of {patch_size}'} ({reason})"
        ) from None
    if not hasattr(model, "forward_head"):
        raise GanVkdError(f"{spec} has no pooled output: choose an image classifier")
    return TimmClassifier(model)
