"""The evaluation protocol: which images are compared, and the result that is written."""

from dataclasses import asdict, dataclass, replace
from importlib.metadata import version

from gan_vkd import __version__
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import balanced_draw
from gan_vkd.evaluation.chance import NEAREST, Pool
from gan_vkd.evaluation.classes import across_classes, asked_for, same_classes, within_classes
from gan_vkd.evaluation.content import digests
from gan_vkd.evaluation.copies import Seen, copies_of_training
from gan_vkd.evaluation.duplicates import duplicates
from gan_vkd.evaluation.features import Extractor, Features, extract
from gan_vkd.evaluation.findings import findings, untested
from gan_vkd.evaluation.further import memorisation, of_samples
from gan_vkd.evaluation.leaks import leaks
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
from gan_vkd.evaluation.real import RealImages
from gan_vkd.evaluation.reference import Reference
from gan_vkd.evaluation.yardstick import kept_gaussian, kept_metrics
from gan_vkd.progress import Reporter

LIBRARIES = ("torch", "torch-fidelity", "scikit-learn")
INTERVALS = (
    "95 %, of the sampling of images, not of the training seed; fid: influence function; kid: "
    "first-order term of the U-statistic; inception_score: spread of the splits; precision, "
    "recall, density, coverage, clipped_density, clipped_coverage: radii held fixed, none where a "
    "share is within .02 of 0 or 1; mind: Kantorovich potential; vendi: influence on the entropy"
)


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
    """Compare images with a reference, and held-out real images with it too.

    FID and KID use the whole reference; the metrics of neighbourhoods as many real images as
    judged ones, drawn in the classes' proportions under a fixed seed.

    Args:
        judged: the images to evaluate, of the reference's size.
        real: what they are compared with; held-out and unseen images are cut to as
            many as `judged`.
        origin: where the images come from, for the protocol.
        extractor: whose features are compared.
        nearest_k: k of the neighbourhoods.
        reporter: told about long work.

    Returns:
        What goes into the JSON file: `extractor`, `protocol`, `metrics`, `expected`, `held_out`,
        `classes`, `copies`, `memorisation`, `duplicates`, `leaks`, `findings`, `untested`.

    Raises:
        GanVkdError: fewer than k + 2 images on a side, or features that are not finite.
    """
    judged, real = judged.rgb(), real.rgb()

    def look_at(images: ImageSet, what: str) -> _Side:
        return _Side(images, extract(extractor, images.images, what, reporter))

    def both_ways(side: _Side, what: str) -> tuple[Seen, Seen]:
        mirrored = replace(side.images, images=side.images.images.flip(-1))
        return side.as_seen(), look_at(mirrored, f"mirrored {what}").as_seen()

    # 1. The metrics, and the yardstick.
    reference = as_reference(real, extractor, reporter)
    compared = min(len(judged), len(reference))
    require_enough(compared, nearest_k)
    if reference.features is None:
        compared = 0
    ours = look_at(judged, "images")
    metrics, found = _measured(ours, reference, nearest_k, "images", extractor, reporter)
    metrics |= _further(ours, reference, extractor)
    yardstick, held_out = None, cut(real.held_out, len(judged))
    if held_out is not None and len(held_out) >= nearest_k + 2:
        side = look_at(held_out, "held-out images")
        beside = _of_held_out(side, reference, nearest_k, extractor, reporter)
        beside |= _further(side, reference, extractor)
        yardstick = {"count": len(held_out), "metrics": as_json(beside)}

    # 2. Classes, and images that repeat each other.
    labels, classes, repeated = same_classes(judged, reference), [], None
    if found is not None:
        drawn, judged_drawn = reference.draw(compared, SEED), ours.draw(compared)
        pool = Pool.of(
            reference.features[drawn].numpy(),
            judged_drawn.as_seen().features,
            max(NEAREST, nearest_k),
            SEED,
            device=extractor.device,
            reporter=reporter,
        )
        repeated = duplicates(
            pool, digests(judged_drawn.images.images), [reference.digests[i] for i in drawn]
        )
        names = reference.class_names
        if len(names) > 1 and labels is None:
            classes = across_classes(found, pool, reference.labels[drawn], names)
        elif len(names) > 1:
            classes = within_classes(
                ours.as_seen().features,
                labels,
                reference.features.numpy(),
                reference.labels,
                names,
                asked_for(judged, reference),
                nearest_k,
                SEED,
            )

    # 3. Copies.
    copies, memorised, unseen = None, None, cut(real.unseen, len(judged)) or None
    if real.training is not None:
        training = _within(real.training, reference)
        training = (training or look_at(real.training, "training images")).as_seen()
        both, at = both_ways(ours, "images"), {"device": extractor.device, "reporter": reporter}
        unseen_both = unseen and both_ways(look_at(unseen, "unseen images"), "unseen images")
        copies = copies_of_training(both, training, unseen_both, **at)
        memorised = memorisation(both, training, unseen_both and unseen_both[0], **at)
    result = {
        "extractor": extractor.name,
        "protocol": {
            **origin,
            "reference": real.reference_origin,
            "reference_sha256": reference.content_sha256,
            "held_out": real.held_out_origin,
            "training": real.training_origin,
            "unseen": real.unseen_origin,
            "judged_count": len(judged),
            "reference_count": len(reference),
            "prdc_count": compared,
            "training_count": 0 if real.training is None else len(real.training),
            "unseen_count": 0 if unseen is None else len(unseen),
            "class_figures": "within each class" if labels is not None else "of all images",
            "image_size": judged.images.shape[-1],
            "nearest_k": nearest_k,
            "inception_splits": INCEPTION_SPLITS,
            "kid_subset": min(KID_SUBSET, compared),
            "seed": SEED,
            "extractor_sha256": extractor.sha256,
            "intervals": INTERVALS,
            "versions": {"gan_vkd": __version__} | {name: version(name) for name in LIBRARIES},
        },
        "metrics": as_json(metrics),
        "expected": {
            "of": "two samples of one distribution",
            "density": 1.0,
            "coverage": expected_coverage(compared, compared, nearest_k) if compared else None,
            "clipped_density": 1.0,
            "clipped_coverage": 1.0,
        },
        "held_out": yardstick,
        "classes": [asdict(figures) for figures in classes],
        "copies": copies,
        "memorisation": memorised,
        "duplicates": repeated,
        "leaks": leaks(judged, real.reference, SEED, reporter),
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
    ours = _Side(judged, extract(extractor, judged.images, "images", reporter))
    theirs = Reference.of(reference, "", extractor, reporter)
    if held_out:
        return as_json(_of_held_out(ours, theirs, nearest_k, extractor, reporter))
    return as_json(_measured(ours, theirs, nearest_k, "images", extractor, reporter)[0])


def as_reference(real: RealImages, extractor: Extractor, reporter: Reporter) -> Reference:
    """The reference as metrics see it: the statistics, or those of its images."""
    if isinstance(real.reference, Reference):
        return real.reference
    return Reference.of(real.reference.rgb(), real.reference_origin, extractor, reporter)


def _of_held_out(
    side: _Side, reference: Reference, nearest_k: int, extractor: Extractor, reporter: Reporter
) -> dict[str, Metric]:
    """The metrics of held-out real images, which are computed once."""

    def measure() -> dict[str, Metric]:
        return _measured(side, reference, nearest_k, "held-out images", extractor, reporter)[0]

    if reference.features is None:
        return measure()
    settings = (nearest_k, INCEPTION_SPLITS, KID_SUBSET, SEED)
    sides = (side.seen, side.images.labels), (Features(reference.features), reference.labels)
    return kept_metrics(sides, settings, extractor.device, measure, reporter)


def _measured(
    side: _Side,
    reference: Reference,
    nearest_k: int,
    what: str,
    extractor: Extractor,
    reporter: Reporter,
) -> tuple[dict[str, Metric], Neighbourhoods | None]:
    """The metrics of a side, and the neighbourhoods that they were counted in.

    Without the reference's features FID and IS are all that is known.
    """
    count = min(len(side.images), len(reference))
    reporter.say(f"Comparing {len(side.images):,} {what} with {len(reference):,} real ones")
    device, known = extractor.device, reference.features is not None
    gaussian = (
        kept_gaussian(reference.features.numpy(), device, reporter) if known else reference.gaussian
    )
    metrics = {
        "fid": frechet_metric(side.seen.features, gaussian, device),
        "inception_score": inception_score(side.seen),
    }
    if not known:
        return metrics, None
    found = neighbourhoods(
        reference.features[reference.draw(count, SEED)].numpy(),
        side.draw(count).as_seen().features,
        nearest_k,
        device=extractor.device,
        reporter=reporter,
    )
    metrics["kid"] = kid_metric(side.seen.features, reference.features, device)
    return {**metrics, **neighbour_metrics(found)}, found


def _further(side: _Side, reference: Reference, extractor: Extractor) -> dict[str, Metric]:
    """MIND and Vendi, of as many images as neighbours are counted among."""
    if reference.features is None:
        return {}
    count = min(len(side.images), len(reference))
    theirs = reference.features[reference.draw(count, SEED)]
    return of_samples(side.draw(count).seen.features, theirs, extractor.device)


def cut(images: ImageSet | None, count: int) -> ImageSet | None:
    """At most `count` images, drawn in the classes' proportions under the protocol's seed."""
    if images is None or len(images) <= count:
        return images
    return images.select(balanced_draw(images.labels, count, SEED))


def _within(images: ImageSet, reference: Reference) -> _Side | None:
    """`images` as a part of the reference, whose features are known; None where it lacks some."""
    if reference.features is None:
        return None
    rows = {content: row for row, content in enumerate(reference.digests)}
    found = [rows.get(content) for content in digests(images.images)]
    return None if None in found else _Side(images, Features(reference.features[found]))
