"""Loaded data sets: uint8 tensors, labels and class names."""

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, all of one size.

    Attributes:
        images: uint8 [N, C, H, W], 0 to 255, C = 3 or, of grey images, 1; they may be a file's,
            mapped, and sets may share them: they are not written to.
        labels: int64 [N], indices into `class_names`.
        class_names: one name a class.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """3, or 1 where all images are grey."""
        return self.images.shape[1]

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
        """The images at `rows` as float [B, C, H, W], -1 to 1, and their labels, on `device`."""
        rows = rows.to(self.images.device)
        return to_float(self.images[rows].to(device)), self.labels[rows].to(device)

    def rgb(self) -> "ImageSet":
        """The same images with three channels; of grey ones a view, see `rgb`."""
        return replace(self, images=rgb(self.images))

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


def rgb(images: torch.Tensor) -> torch.Tensor:
    """Images [N, 1 or 3, H, W] → [N, 3, H, W]: grey ones as three equal channels, a view."""
    return images.expand(-1, 3, -1, -1)


def grey(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, 3, H, W] → uint8 [N, 1, H, W]: luma (ITU-R BT.601), rounded."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    parts = [(part * weights).sum(dim=1, keepdim=True).round().byte() for part in images.split(500)]
    return torch.cat(parts)


def in_channels(dataset: Dataset, channels: int) -> Dataset:
    """The data set with images of 1 or 3 channels; a note where colours are lost."""
    if dataset.train.channels == channels:
        return dataset
    convert = grey if channels == 1 else lambda images: rgb(images).contiguous()
    note = ("coloured images are turned grey (data.channels=1)",) if channels == 1 else ()
    train, test = (
        images and replace(images, images=convert(images.images))
        for images in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test, notes=(*dataset.notes, *note))


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 0 to 255 → float32 -1 to 1."""
    return images.float() / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Float -1 to 1 → uint8 0 to 255, rounded, clipped."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
