"""What an iteration of a classifier's training draws, and which networks draw by themselves."""

import torch
from torch import nn

from gan_vkd.classification.augment import Augmentation
from gan_vkd.classification.optimiser import rate_at
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.data.batches import balanced_indices, batch_indices
from gan_vkd.data.images import ImageSet
from gan_vkd.randomness import generator, seed_for

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class Draws:
    """All numbers of an iteration, on the CPU: a function of the seed and its number.

    Args:
        recipe: of the run.
        train: the training images.
        augmentation: draws its own.
        per_epoch: iterations an epoch.
    """

    def __init__(
        self,
        recipe: ClassificationRecipe,
        train: ImageSet,
        augmentation: Augmentation,
        per_epoch: int,
    ):
        self.recipe, self.augmentation, self.per_epoch = recipe, augmentation, per_epoch
        self.count, self.side = len(train), train.images.shape[-1]
        self.members = None
        if recipe.data.balance == "classes":
            labels = train.labels.cpu()
            self.members = [(labels == label).nonzero().flatten() for label in labels.unique()]

    def __call__(self, iteration: int) -> dict[str, torch.Tensor]:
        """By name.

        Returns:
            `rows` int64 [B] of the training images; `key` int64 [1]; `rate`, of the optimiser;
            `ramp`, 0 to 1, of the method's weight; and the augmentation's.
        """
        training = self.recipe.training
        seed, batch_size = training.seed, training.batch_size
        epoch, warmup = iteration // self.per_epoch + 1, self.recipe.distill.warmup
        return {
            "rows": self._rows(batch_size, iteration, seed),
            "key": torch.tensor([seed_for(seed, "negatives", iteration)]),
            "rate": torch.tensor(rate_at(iteration, self.per_epoch, training)),
            "ramp": torch.tensor(min(1.0, epoch / warmup) if warmup else 1.0),
            **self.augmentation.draw(batch_size, self.side, generator(seed, "augment", iteration)),
        }

    def _rows(self, batch_size: int, iteration: int, seed: int) -> torch.Tensor:
        if self.members is None:
            return batch_indices(self.count, batch_size, iteration, seed)
        return balanced_indices(self.members, batch_size, iteration, seed)


def draws_itself(network: nn.Module) -> bool:
    """Whether it draws random numbers in training: dropout, or branches that are left out."""
    return any(
        getattr(module, "drop_prob", 0)
        or getattr(module, "drop_rate", 0)
        or (isinstance(module, DROPOUTS) and module.p > 0)
        for module in network.modules()
    )
