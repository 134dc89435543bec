"""What a data set is once loaded: uint8 tensors, labels and names."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, all of one size.

    Attributes:
        images: uint8 [N, 3, H, W], 0 to 255; they may be a file's, mapped, and sets may share
            them: they are not written to.
        labels: int64 [N], indices into `class_names`.
        class_names: one name a class.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: torch.Tensor) -> "ImageSet":
        """The images at `indices` (int64 [M]), in that order.

        They are copied; indices that are all of them in order give this set itself.
        """
        if torch.equal(indices, torch.arange(len(self), device=indices.device)):
            return self
        return ImageSet(self.images[indices], self.labels[indices], self.class_names)

    def to(self, device: torch.device) -> "ImageSet":
        """The same images on `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.class_names)

    def batch(self, rows: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The images at `rows` as float [B, 3, H, W], -1 to 1, and their labels, on `device`."""
        rows = rows.to(self.images.device)
        return to_float(self.images[rows].to(device)), self.labels[rows].to(device)

    @property
    def counts(self) -> torch.Tensor:
        """int64 [classes]: the number of images of each class."""
        return torch.bincount(self.labels.cpu(), minlength=len(self.class_names))


@dataclass(frozen=True)
class Dataset:
    """A source's official splits.

    Attributes:
        name: the spec it was loaded from.
        train: the training split.
        test: the test split, where the source has one.
        flippable: whether a mirrored image is as good as the original (not so for digits).
        skipped: unreadable files left out on request, each with the reason.
        layout: how splits and classes were told, for people; empty where nothing had to be told.
        notes: what of the source is not used, and what else is to be said, in lines.
    """

    name: str
    train: ImageSet
    test: ImageSet | None
    flippable: bool = True
    skipped: tuple[str, ...] = ()
    layout: str = ""
    notes: tuple[str, ...] = ()


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 0 to 255 → float32 -1 to 1."""
    return images.float() / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Float -1 to 1 → uint8 0 to 255, rounded, clipped."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
