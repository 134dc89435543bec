"""How good a classifier is on labelled images."""

import torch
import torch.nn.functional as F

from gan_vkd.data.images import ImageSet
from gan_vkd.device import autocast
from gan_vkd.distill.classifiers import Classifier

BATCH = 500


@torch.no_grad()
def accuracy(
    classifier: Classifier, images: ImageSet, device: torch.device, precision: str
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1; top-5 of at least six classes) and cross-entropy.

    The classifier is left in the mode that it was in.

    Args:
        classifier: on `device`.
        images: there or on the CPU.
        device: where to compute; it is asked once.
        precision: `fp32` or `bf16` (autocast).
    """
    was_training = classifier.training
    classifier.eval()
    most = min(5, len(images.class_names) - 1)
    totals = torch.zeros(3, dtype=torch.float64, device=device)
    for rows in torch.arange(len(images)).split(BATCH):
        shown, labels = images.batch(rows, device)
        with autocast(device, precision):
            logits = classifier(shown).logits
        logits = logits.float()
        top = logits.topk(most, dim=1).indices == labels[:, None]
        entropy = F.cross_entropy(logits, labels, reduction="sum")
        totals += torch.stack([top[:, 0].sum(), top.sum(), entropy]).double()
    classifier.train(was_training)
    top1, top5, entropy = (totals / len(images)).tolist()
    figures = {"top1": top1, "cross_entropy": entropy}
    return figures if most < 5 else {"top1": top1, "top5": top5, "cross_entropy": entropy}
