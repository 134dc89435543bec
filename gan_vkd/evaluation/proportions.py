"""Which classes are drawn from a generator that is evaluated."""

import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.reference import Reference
from gan_vkd.gan.exported import ExportedGenerator

OF_TRAINING, OF_REFERENCE = "the training data's", "the reference's"


def evaluation_labels(
    generator: ExportedGenerator, reference: ImageSet | Reference, count: int, seed: int
) -> tuple[torch.Tensor, str]:
    """Labels int64 [count], ascending, and whose proportions they have, in words.

    They have the training data's proportions. A generator whose training showed all classes equally
    often has no proportions of its own: it gets the reference's, where that has the same classes,
    so that metrics compare the images of classes and not how frequent classes are.
    """
    if generator.balanced and set(generator.class_names) == set(reference.class_names):
        counts = dict(zip(reference.class_names, reference.counts.tolist(), strict=True))
        proportions = torch.tensor([counts[name] for name in generator.class_names])
        return generator.labels(count, seed, proportions), OF_REFERENCE
    return generator.labels(count, seed), "equal" if generator.balanced else OF_TRAINING
