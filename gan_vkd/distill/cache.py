"""The teacher's features of the training images, computed once per image."""

from collections.abc import Callable

import torch

from gan_vkd.data.images import to_float

CHUNK = 8  # images a teacher call; with their mirror images twice as many go through


class FeatureCache:
    """Features of uint8 images and of their mirror images, filled as batches ask for them.

    The teacher always sees calls of one size, so a feature has the same bits whatever was asked
    for before: a run with a cold cache equals one with a warm cache.

    Args:
        teacher: images [B, C, S, S], -1 to 1, on `device` → features [B, dim].
        dim: the feature dimension.
        images: uint8 [N, C, H, W], there or on the CPU.
        device: where features are kept and handed out.
    """

    def __init__(
        self,
        teacher: Callable[[torch.Tensor], torch.Tensor],
        dim: int,
        images: torch.Tensor,
        device: torch.device,
    ):
        self.teacher, self.images, self.device = teacher, images, device
        self._features = torch.empty(len(images), 2, dim, device=device)
        self._known = torch.zeros(len(images), dtype=torch.bool)

    def __call__(self, indices: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """Features [B, dt] of the images at `indices` (int64 [B]), mirrored where bool [B] says."""
        missing = indices[~self._known[indices]].unique()
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            self._features[part.to(self.device)] = self._compute(part)
            self._known[part] = True
        return self._features[indices.to(self.device), mirrored.long().to(self.device)]

    def _compute(self, part: torch.Tensor) -> torch.Tensor:
        """[len(part), 2, dt], in a call of 2 · CHUNK images: the last one repeats itself."""
        padded = torch.cat([part, part[-1:].expand(CHUNK - len(part))])
        images = to_float(self.images[padded.to(self.images.device)].to(self.device))
        both = torch.stack([images, images.flip(-1)], dim=1).flatten(0, 1)
        return self.teacher(both).view(CHUNK, 2, -1)[: len(part)]
