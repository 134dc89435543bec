"""The real images of an evaluation."""

from dataclasses import dataclass, replace

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.reference import Reference


@dataclass(frozen=True)
class RealImages:
    """The real images that samples are compared with; each set and its origin, in words.

    Attributes:
        reference: what the metrics compare with: images, or statistics of images.
        held_out: real images outside the reference, evaluated like the images.
        training: what may have been copied: the training images, or where they are not known the
            reference, of the same origin; None where that is statistics.
        unseen: real images outside `training`, whose nearness to it is the yardstick for copies.
    """

    reference: ImageSet | Reference
    reference_origin: str
    held_out: ImageSet | None
    held_out_origin: str
    training: ImageSet | None
    training_origin: str
    unseen: ImageSet | None
    unseen_origin: str

    def rgb(self) -> "RealImages":
        """The same with three channels; grey images as three equal ones."""
        sets = {name: value for name, value in vars(self).items() if isinstance(value, ImageSet)}
        return replace(self, **{name: images.rgb() for name, images in sets.items()})
