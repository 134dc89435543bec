"""How D treats training images and held-out ones: its overfitting."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import TrainingData
from gan_vkd.distill.cache import FeatureCache
from gan_vkd.distill.view import TeacherView
from gan_vkd.randomness import generator

COUNT = 256  # images of each kind


class Probes:
    """Up to 256 images of each kind with the teacher's features.

    Args:
        data: the images.
        view: the teacher, or None.
        batch_size: images shown at once.
        device: D's.
    """

    def __init__(
        self, data: TrainingData, view: TeacherView | None, batch_size: int, device: torch.device
    ):
        self.batch_size, self.device = batch_size, device
        self.images: dict[str, tuple[ImageSet, FeatureCache | None]] = {}
        for kind, images in {"train": data.train, "held_out": data.held_out}.items():
            if images is not None:
                order = torch.randperm(len(images), generator=generator("probe", kind))
                chosen = images.select(order[:COUNT].to(images.images.device))
                self.images[kind] = (chosen, view and view.of(chosen))

    @torch.no_grad()
    def measure(self, discriminator: nn.Module, terms: nn.ModuleDict) -> dict[str, float]:
        """D in eval mode on them.

        Returns:
            For each kind: D's mean logit and the logits' standard deviation (near 0 where D is
            dead and tells no image from another), what the terms measure; `overfitting`, the
            difference of the mean logits; and `logit_auc`, how well the logit tells training from
            held-out images.
        """
        values: dict[str, float] = {}
        logits = {}
        with _eval_mode(discriminator):
            for kind, (images, features) in self.images.items():
                found, logits[kind] = self._measure(discriminator, terms.values(), images, features)
                values |= {f"{name}_{kind}": value for name, value in found.items()}
        if "logit_held_out" in values:
            values["overfitting"] = values["logit_train"] - values["logit_held_out"]
            values["logit_auc"] = auc(logits["train"], logits["held_out"])
        return values

    def _measure(
        self,
        discriminator: nn.Module,
        terms: Iterable[nn.Module],
        images: ImageSet,
        features: FeatureCache | None,
    ) -> tuple[dict[str, float], torch.Tensor]:
        logits, batches = [], []
        for rows in torch.arange(len(images)).split(self.batch_size):
            if len(rows) < 2:  # nothing to centre
                continue
            batch_logits, h = discriminator(*images.batch(rows, self.device))
            logits.append(batch_logits)
            batches.append((h, features and features(rows, torch.zeros(len(rows)).bool())))
        logit = torch.cat(logits)
        values = {"logit": logit.mean().item(), "logit_std": logit.std().item()}
        for term in terms:
            values |= term.probe(batches)
        return values, logit


def spread(images: torch.Tensor) -> torch.Tensor:
    """How unlike each other images are: each pixel's standard deviation over them, averaged."""
    return images.std(dim=0).mean()


def auc(higher: torch.Tensor, lower: torch.Tensor) -> float:
    """The probability that one of `higher` [N] is above one of `lower` [M], ties counted half.

    The area under the ROC curve, and Mann-Whitney's U over N M: .5 where the value tells nothing.
    """
    first, second = higher.double()[:, None], lower.double()
    return ((first > second).double() + 0.5 * (first == second)).mean().item()


@contextlib.contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    module.eval()
    try:
        yield
    finally:
        module.train()
