"""The evaluation protocol: which images are compared with which, and what is written down."""

from dataclasses import asdict, dataclass, replace
from importlib.metadata import version

import torch

from gan_vkd import __version__
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import balanced_draw
from gan_vkd.evaluation.chance import NEAREST, Pool
from gan_vkd.evaluation.classes import across_classes, asked_for, same_classes, within_classes
from gan_vkd.evaluation.content import content_sha256, digests
from gan_vkd.evaluation.copies import Seen, copies_of_training
from gan_vkd.evaluation.duplicates import duplicates
from gan_vkd.evaluation.features import Extractor, Features, extract
from gan_vkd.evaluation.findings import findings, untested
from gan_vkd.evaluation.further import memorisation, of_samples
from gan_vkd.evaluation.metrics import (
    INCEPTION_SPLITS,
    KID_SUBSET,
    SEED,
    Metric,
    as_json,
    frechet_metric,
    inception_score,
    kid_metric,
    neighbour_metrics,
    require_enough,
)
from gan_vkd.evaluation.neighbours import Neighbourhoods, neighbourhoods
from gan_vkd.evaluation.prdc import expected_coverage
from gan_vkd.evaluation.yardstick import kept_gaussian, kept_metrics
from gan_vkd.progress import Reporter

INTERVALS = (
    "95 %, of the sampling of images, not of the training seed; fid: influence function; kid: "
    "first-order term of the U-statistic; inception_score: spread of the splits; precision, "
    "recall, density, coverage, clipped_density, clipped_coverage: radii held fixed, none where a "
    "share is within .02 of 0 or 1; mind: Kantorovich potential; vendi: influence on the entropy"
)


@dataclass(frozen=True)
class RealImages:
    """What images are judged by; a set and where it comes from, in words.

    Attributes:
        reference: what the metrics compare with.
        held_out: real images outside the reference, judged like the images: the yardstick.
        training: what may have been copied: the training images, or where they are not known the
            reference, of the same origin.
        unseen: real images outside `training`, whose nearness to it is the yardstick for copies.
    """

    reference: ImageSet
    reference_origin: str
    held_out: ImageSet | None
    held_out_origin: str
    training: ImageSet
    training_origin: str
    unseen: ImageSet | None
    unseen_origin: str

    def rgb(self) -> "RealImages":
        """The same with three channels; grey images as three equal ones."""
        sets = {name: value for name, value in vars(self).items() if isinstance(value, ImageSet)}
        return replace(self, **{name: images.rgb() for name, images in sets.items()})


@dataclass(frozen=True)
class _Side:
    """Images with their features."""

    images: ImageSet
    seen: Features

    def draw(self, count: int) -> "_Side":
        rows = balanced_draw(self.images.labels, count, SEED)
        return _Side(self.images.select(rows), self.seen[rows])

    def as_seen(self) -> Seen:
        return Seen(self.images.images, self.seen.features.numpy())


def evaluate(
    judged: ImageSet,
    real: RealImages,
    *,
    origin: dict,
    extractor: Extractor,
    nearest_k: int,
    reporter: Reporter,
) -> dict:
    """Judge images by a reference, with real held-out images beside them.

    FID and KID use the whole reference; the metrics of neighbourhoods as many real images as
    judged ones, drawn in the classes' proportions under a fixed seed.

    Args:
        judged: the images to judge, of the reference's size.
        real: what to judge them by; held-out and unseen images are cut to as many as `judged`.
        origin: where the judged images come from, for the protocol.
        extractor: whose features are compared.
        nearest_k: k of the neighbourhoods.
        reporter: told about long work.

    Returns:
        What goes into the JSON file: `extractor`, `protocol`, `metrics`, `expected`, `held_out`,
        `classes`, `copies`, `memorisation`, `duplicates`, `findings`, `untested`.

    Raises:
        GanVkdError: fewer than k + 2 images on a side, or features that are not finite.
    """
    judged, real = judged.rgb(), real.rgb()
    compared = min(len(judged), len(real.reference))
    require_enough(compared, nearest_k)

    def look_at(images: ImageSet, what: str) -> _Side:
        return _Side(images, extract(extractor, images.images, what, reporter))

    def both_ways(side: _Side, what: str) -> tuple[Seen, Seen]:
        mirrored = replace(side.images, images=side.images.images.flip(-1))
        return side.as_seen(), look_at(mirrored, f"mirrored {what}").as_seen()

    # 1. The metrics, and the yardstick.
    reference, ours = look_at(real.reference, "reference images"), look_at(judged, "images")
    metrics, found = _measured(ours, reference, nearest_k, "images", extractor, reporter)
    metrics |= _further(ours, reference, extractor)
    yardstick, held_out = None, cut(real.held_out, len(judged))
    if held_out is not None and len(held_out) >= nearest_k + 2:
        side = look_at(held_out, "held-out images")
        beside = _of_held_out(side, reference, nearest_k, extractor, reporter)
        beside |= _further(side, reference, extractor)
        yardstick = {"count": len(held_out), "metrics": as_json(beside)}

    # 2. Classes.
    labels = same_classes(judged, real.reference)
    drawn, judged_drawn = reference.draw(compared), ours.draw(compared)
    pool = Pool.of(
        *(each.as_seen().features for each in (drawn, judged_drawn)),
        max(NEAREST, nearest_k),
        SEED,
        device=extractor.device,
        reporter=reporter,
    )
    if len(real.reference.class_names) < 2:
        classes = []
    elif labels is None:
        classes = across_classes(found, pool, drawn.images.labels, real.reference.class_names)
    else:
        classes = within_classes(
            ours.as_seen().features,
            labels,
            reference.as_seen().features,
            real.reference.labels,
            real.reference.class_names,
            asked_for(judged, real.reference),
            nearest_k,
            SEED,
        )

    # 3. Copies.
    training = _within(real.training, reference) or look_at(real.training, "training images")
    unseen = cut(real.unseen, len(judged)) or None
    both, at = both_ways(ours, "images"), {"device": extractor.device, "reporter": reporter}
    unseen_both = unseen and both_ways(look_at(unseen, "unseen images"), "unseen images")
    copies = copies_of_training(both, training.as_seen(), unseen_both, **at)
    memorised = memorisation(both, training.as_seen(), unseen_both and unseen_both[0], **at)
    result = {
        "extractor": extractor.name,
        "protocol": {
            **origin,
            "reference": real.reference_origin,
            "reference_sha256": content_sha256(real.reference.images),
            "held_out": real.held_out_origin,
            "training": real.training_origin,
            "unseen": real.unseen_origin,
            "judged_count": len(judged),
            "reference_count": len(real.reference),
            "prdc_count": compared,
            "training_count": len(real.training),
            "unseen_count": 0 if unseen is None else len(unseen),
            "class_figures": "within each class" if labels is not None else "of all images",
            "image_size": judged.images.shape[-1],
            "nearest_k": nearest_k,
            "inception_splits": INCEPTION_SPLITS,
            "kid_subset": min(KID_SUBSET, compared),
            "seed": SEED,
            "extractor_sha256": extractor.sha256,
            "intervals": INTERVALS,
            "versions": {
                "gan_vkd": __version__,
                **{name: version(name) for name in ("torch", "torch-fidelity")},
            },
        },
        "metrics": as_json(metrics),
        "expected": {
            "of": "two samples of one distribution",
            "density": 1.0,
            "coverage": expected_coverage(compared, compared, nearest_k),
            "clipped_density": 1.0,
            "clipped_coverage": 1.0,
        },
        "held_out": yardstick,
        "classes": [asdict(figures) for figures in classes],
        "copies": copies,
        "memorisation": memorised,
        "duplicates": duplicates(pool, judged_drawn.images.images, drawn.images.images),
    }
    return {**result, "findings": findings(result), "untested": untested(result)}


def figures(
    judged: ImageSet,
    reference: ImageSet,
    *,
    extractor: Extractor,
    nearest_k: int,
    reporter: Reporter,
    held_out: bool = False,
) -> dict:
    """The metrics alone, as in `evaluate`'s result: no yardstick, no findings.

    Those of held-out real images are kept.

    Raises:
        GanVkdError: as `evaluate`.
    """
    require_enough(min(len(judged), len(reference)), nearest_k)
    ours, theirs = (
        _Side(images, extract(extractor, images.images, what, reporter))
        for images, what in ((judged, "images"), (reference, "reference images"))
    )
    if held_out:
        return as_json(_of_held_out(ours, theirs, nearest_k, extractor, reporter))
    return as_json(_measured(ours, theirs, nearest_k, "images", extractor, reporter)[0])


def _of_held_out(
    side: _Side, reference: _Side, nearest_k: int, extractor: Extractor, reporter: Reporter
) -> dict[str, Metric]:
    """The metrics of held-out real images, which are computed once."""
    return kept_metrics(
        tuple((each.seen, each.images.labels) for each in (side, reference)),
        (nearest_k, INCEPTION_SPLITS, KID_SUBSET, SEED),
        extractor.device,
        lambda: _measured(side, reference, nearest_k, "held-out images", extractor, reporter)[0],
        reporter,
    )


def _measured(
    side: _Side,
    reference: _Side,
    nearest_k: int,
    what: str,
    extractor: Extractor,
    reporter: Reporter,
) -> tuple[dict[str, Metric], Neighbourhoods]:
    """The metrics of a side, and the neighbourhoods that they were counted in."""
    count = min(len(side.images), len(reference.images))
    reporter.say(f"Comparing {len(side.images):,} {what} with {len(reference.images):,} real ones")
    ours, theirs = side.seen, reference.seen
    found = neighbourhoods(
        reference.draw(count).as_seen().features,
        side.draw(count).as_seen().features,
        nearest_k,
        device=extractor.device,
        reporter=reporter,
    )
    gaussian = kept_gaussian(theirs.features.numpy(), extractor.device, reporter)
    metrics = {
        "fid": frechet_metric(ours.features, gaussian, extractor.device),
        "inception_score": inception_score(ours),
        "kid": kid_metric(ours.features, theirs.features, extractor.device),
        **neighbour_metrics(found),
    }
    return metrics, found


def _further(side: _Side, reference: _Side, extractor: Extractor) -> dict[str, Metric]:
    """MIND and Vendi, of as many images as neighbours are counted among."""
    count = min(len(side.images), len(reference.images))
    ours, theirs = (each.draw(count).seen.features for each in (side, reference))
    return of_samples(ours, theirs, extractor.device)


def cut(images: ImageSet | None, count: int) -> ImageSet | None:
    """At most `count` images, drawn in the classes' proportions under the protocol's seed."""
    if images is None or len(images) <= count:
        return images
    return images.select(balanced_draw(images.labels, count, SEED))


def _within(images: ImageSet, side: _Side) -> _Side | None:
    """`images` as a part of `side`, whose features are known; None where they are not in it."""
    rows = {content: row for row, content in enumerate(digests(side.images.images))}
    found = [rows.get(content) for content in digests(images.images)]
    return None if None in found else _Side(images, side.seen[torch.tensor(found)])
