"""The teacher in training: its features of images as they come, and of images that stay."""

from collections.abc import Iterator

import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.device import autocast
from gan_vkd.distill.cache import FeatureCache
from gan_vkd.distill.teachers import Teacher
from gan_vkd.progress import Reporter


class TeacherView:
    """A teacher, and its features of the training images, computed once per image.

    Args:
        teacher: on the training device.
        train: the training images, on the training device or on the CPU.
        device: the training device.
        precision: in which the teacher runs, whoever asks: `fp32` or `bf16`.
    """

    def __init__(self, teacher: Teacher, train: ImageSet, device: torch.device, precision: str):
        self.teacher, self.device, self.precision = teacher, device, precision
        self.train = self.of(train)

    def of(self, images: ImageSet) -> FeatureCache:
        """Features of other images that stay."""
        return FeatureCache(self.see, self.teacher.dim, images.images, self.device)

    def see(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, C, S, S], -1 to 1 → the teacher's features [B, dt]; no gradient."""
        with autocast(self.device, self.precision):
            return self.teacher(images)

    def training_features(self, flip: bool, reporter: Reporter) -> Iterator[torch.Tensor]:
        """Features [b, dt] of all training images, and of their mirror images where `flip`."""
        parts = self.training_parts(flip)
        for rows, mirrored in reporter.track(parts, "Teacher features", len(parts)):
            yield self.train(rows, mirrored)

    def training_parts(self, flip: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The rows [b] of the images that `training_features` goes through, and which mirrored."""
        parts = torch.arange(len(self.train.images)).split(64)
        coins = (False, True) if flip else (False,)
        return [(rows, torch.full((len(rows),), coin)) for rows in parts for coin in coins]
