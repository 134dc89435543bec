"""The evaluation protocol: which images are compared with which, and what is written down."""

from importlib.metadata import version

from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import balanced_draw
from gan_vkd.evaluation.features import Extractor, Features, extract
from gan_vkd.evaluation.metrics import (
    INCEPTION_SPLITS,
    KID_SUBSET,
    SEED,
    as_json,
    compute_metrics,
)
from gan_vkd.evaluation.prdc import expected_coverage
from gan_vkd.progress import Reporter

INTERVALS = (
    "95 %, of the sampling of images, not of the training seed; fid: influence function; kid: "
    "first-order term of the U-statistic; inception_score: spread of the splits; precision, "
    "recall, density, coverage: radii held fixed, none where a share is within .02 of 0 or 1"
)


def evaluate(
    judged: ImageSet,
    reference: ImageSet,
    held_out: ImageSet | None,
    *,
    origin: dict[str, str],
    extractor: Extractor,
    nearest_k: int,
    reporter: Reporter,
) -> dict:
    """Judge images by a reference, with real held-out images beside them.

    FID and KID use the whole reference; precision, recall, density and coverage as many real
    images as judged ones, drawn in the classes' proportions under a fixed seed.

    Args:
        judged: the images to judge.
        reference: real images of the same size.
        held_out: real images outside the reference, judged in the same way, at most as many as
            `judged`; None for none.
        origin: `judged`, `reference`, `held_out`, in words, for the protocol.
        extractor: whose features are compared.
        nearest_k: k of precision, recall, density and coverage.
        reporter: told about long work.

    Returns:
        What goes into the JSON file: `extractor`, `protocol`, `metrics`, `expected`, `held_out`.
    """
    real = extract(extractor, reference.images, "reference images", reporter)
    compared = min(len(judged), len(reference))

    def judge(images: ImageSet, what: str) -> dict:
        found: Features = extract(extractor, images.images, what, reporter)
        reporter.say(f"Comparing {len(images):,} {what} with {len(reference):,} reference images")
        found_metrics = compute_metrics(
            found,
            images.labels,
            real,
            reference.labels,
            nearest_k,
            device=extractor.device,
            reporter=reporter,
        )
        return as_json(found_metrics)

    metrics = judge(judged, "images")
    yardstick = None
    if held_out is not None:
        drawn = cut(held_out, len(judged))
        yardstick = {"count": len(drawn), "metrics": judge(drawn, "held-out images")}
    return {
        "extractor": extractor.name,
        "protocol": {
            **origin,
            "judged_count": len(judged),
            "reference_count": len(reference),
            "prdc_count": compared,
            "image_size": judged.images.shape[-1],
            "nearest_k": nearest_k,
            "inception_splits": INCEPTION_SPLITS,
            "kid_subset": min(KID_SUBSET, compared),
            "seed": SEED,
            "extractor_sha256": extractor.weights_sha256,
            "intervals": INTERVALS,
            "versions": {name: version(name) for name in ("gan_vkd", "torch", "torch-fidelity")},
        },
        "metrics": metrics,
        "expected": {
            "of": "two samples of one distribution",
            "density": 1.0,
            "coverage": expected_coverage(compared, compared, nearest_k),
        },
        "held_out": yardstick,
    }


def cut(images: ImageSet, count: int) -> ImageSet:
    """At most `count` images, drawn in the classes' proportions under the protocol's seed."""
    if len(images) <= count:
        return images
    return images.select(balanced_draw(images.labels, count, SEED))
