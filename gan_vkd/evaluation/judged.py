"""What `gan-vkd eval` evaluates: a run, or image files; and the reference."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from gan_vkd.config.core import EvaluationSettings
from gan_vkd.config.layers import read_config
from gan_vkd.data.images import ImageSet
from gan_vkd.data.record import Record, in_order_of, read_record, require_same
from gan_vkd.data.sources import NAMES, load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import Extractor
from gan_vkd.evaluation.given import Files, load_given
from gan_vkd.evaluation.metrics import require_enough
from gan_vkd.evaluation.named_reference import named_reference, sides, spec_and_split
from gan_vkd.evaluation.proportions import evaluation_labels
from gan_vkd.evaluation.protocol import RealImages, cut
from gan_vkd.evaluation.reference import Reference
from gan_vkd.gan.exported import load_generator
from gan_vkd.gan.latents import latents
from gan_vkd.paths import expanded
from gan_vkd.progress import Reporter

LONGEST_PART = 48  # bytes of a file's name; names have 255 at most


@dataclass(frozen=True)
class Case:
    """Images to evaluate, the real images, and their origin for the protocol."""

    judged: ImageSet
    real: RealImages
    origin: dict
    nearest_k: int


def is_run(target: Path) -> bool:
    """Whether `target` is a run directory (a folder of images has no config.yaml)."""
    return (target / "config.yaml").is_file()


def result_path(run: Path, result: dict) -> Path:
    """Where a run keeps a result: named by reference, count and extractor.

    What differs from the defaults follows: the checkpoint, k, and the latents' seed.
    """
    protocol = result["protocol"]
    parts = [
        _slug(protocol["reference"]),
        str(protocol["judged_count"]),
        _slug(result["extractor"]),
    ]
    if not protocol["checkpoint"].endswith("the last one"):
        parts.append("best")
    if protocol["nearest_k"] != EvaluationSettings().nearest_k:
        parts.append(f"k{protocol['nearest_k']}")
    if protocol["latent_seed"]:
        parts.append(f"seed{protocol['latent_seed']}")
    return run / "eval" / f"{'-'.join(parts)}.json"


def _slug(text: str) -> str:
    """A short part of a file name; of long texts and paths the end and a hash."""
    plain = "".join(c if c.isalnum() else "-" for c in text)
    if len(plain.encode()) <= LONGEST_PART and "/" not in text and "\\" not in text:
        return plain
    end = "".join(c for c in plain if c.isascii())[-LONGEST_PART:].strip("-")
    return f"{end}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:8]}"


def case_of_run(
    run: Path,
    *,
    reference: str | None,
    overrides: dict[str, int],
    seed: int,
    checkpoint: str,
    dataset: str | None,
    data_root: Path | None,
    skip_bad: bool,
    extractor: Extractor,
    device: torch.device,
    reporter: Reporter,
) -> Case:
    """Images drawn from a run's exported generator; their labels: see `evaluation_labels`.

    Args:
        run: the run directory.
        reference: `train`, `test` or `subset` of the run's own data, or a spec; default the
            recipe's.
        overrides: fields of `EvaluationSettings` that flags set.
        seed: of the latents.
        checkpoint: `last`, or `best`: the one chosen on validation images.
        dataset: in place of the recipe's, where the data have moved.
        data_root: in place of the recipe's.
        skip_bad: leave unreadable files out, and count them, also where the recipe refuses them.
        extractor, device, reporter: as everywhere.

    Raises:
        GanVkdError: no checkpoint yet, or data that can't be loaded.
    """
    recipe = read_config(run)
    generator = load_generator(run if checkpoint == "last" else _best(run)).to(device)
    settings = recipe.evaluation.model_copy(update=overrides)
    own = reference or settings.reference
    root = data_root or (Path(recipe.data.data_root) if recipe.data.data_root else None)
    spec = dataset or recipe.data.dataset
    if dataset is None and spec not in NAMES and not expanded(spec).exists():
        raise GanVkdError(
            f"{run}: its training data set, {spec}, is not there any more: pass its new place "
            "with --dataset"
        )
    dataset = load_dataset(
        spec,
        image_size=generator.image_size,
        data_root=root,
        skip_bad=skip_bad or recipe.data.skip_bad,
        channels=recipe.data.channels,
        reporter=reporter,
    )
    began = read_record(run) or Record(
        generator.class_names, tuple(generator.class_counts.tolist()), None
    )
    dataset = in_order_of(dataset, began.class_names)
    data = split_training(
        dataset,
        recipe.data.subset,
        recipe.data.subset_draw,
        recipe.training.seed,
        recipe.data.validation,
    )
    require_same(f"{run}: {recipe.data.dataset}", began, data.train)
    if own == "subset":
        real_images = (data.train, f"{dataset.name}:subset", data.held_out, data.held_out_origin)
    elif own in ("train", "test"):
        real_images = sides(dataset, own)
    else:
        real_images = named_reference(
            own,
            generator.image_size,
            data_root=root,
            skip_bad=skip_bad,
            extractor=extractor,
            reporter=reporter,
        )
    real = RealImages(
        *real_images,
        training=data.train,
        training_origin="the run's training images",
        unseen=data.held_out,
        unseen_origin=data.held_out_origin,
    )
    taught = extractor.name == recipe.teacher.spec
    if taught:
        reporter.say(
            f"Warning: {extractor.name} is the teacher that this run learned from. These metrics "
            "favour the run; do not compare them with those of other methods"
        )
    labels, proportions = evaluation_labels(generator, real.reference, settings.num, seed)
    pictures = []
    parts = torch.arange(settings.num).split(500)
    z_dim = generator.network.shape["z_dim"]
    for part in reporter.track(parts, "Generating images", len(parts)):
        pictures.append(generator.draw(latents(part.tolist(), z_dim, seed), labels[part]))
    judged = ImageSet(torch.cat(pictures), labels, generator.class_names)
    origin = {
        "judged": "exported generator",
        "run": run.resolve().name,
        "checkpoint": f"iteration {generator.card['iteration']}, "
        + generator.card.get("chosen", "the last one"),
        "latent_seed": seed,
        "class_proportions": proportions,
        "extractor_is_the_teacher": taught,
    }
    return Case(judged, real, origin, settings.nearest_k)


def case_of_images(
    target: Path,
    *,
    reference: str | None,
    settings: EvaluationSettings,
    size: int | None,
    data_root: Path | None,
    skip_bad: bool,
    extractor: Extractor,
    reporter: Reporter,
) -> Case:
    """A folder, archive or array file of images, to be compared with a data set.

    Args:
        target: the folder or file.
        reference: the data set's spec, with a split.
        settings: how many, and k.
        size: the side both are brought to, pixels; None for the images' own, which is then one,
            and no less than the reference's.
        data_root: where named data sets are looked for.
        skip_bad: leave unreadable files out, and count them, in place of refusing.
        extractor, reporter: as everywhere.

    Raises:
        GanVkdError: no such images, sizes that differ or lose what the reference has, or no
            reference.
    """
    if not target.exists():
        raise GanVkdError(f"{target}: no such run, folder or file")
    if reference is None or reference in ("train", "test", "subset"):
        raise GanVkdError(
            f"{target}: not a run (it has no config.yaml); to evaluate images pass "
            "--reference SPEC, as in --reference cifar100:test"
        )
    images = load_given(target, size, reporter, skip_bad=skip_bad)
    side = images.images.shape[-1]
    reference_images, name, held_out, held_out_origin = named_reference(
        reference,
        side,
        data_root=data_root,
        skip_bad=skip_bad,
        extractor=extractor,
        reporter=reporter,
    )
    ours, statistics = Files.of(str(target)), isinstance(reference_images, Reference)
    theirs = Files(side, "") if statistics else Files.of(spec_and_split(reference)[0])
    if size is None and side < theirs.size:
        raise GanVkdError(
            f"{target}: its images have {side}x{side} pixels, those of --reference {reference} "
            f"{theirs.size}: a reference shrunk to that size would hide what they lack; evaluate "
            f"larger images, or compare both at that size with --size {side}"
        )
    for part, where in ((images, str(target)), (reference_images, f"--reference {reference}")):
        require_enough(len(part), settings.nearest_k, where)
    real = RealImages(
        reference_images,
        name,
        held_out,
        held_out_origin,
        # what the images' maker trained on is not known
        training=None if statistics else reference_images,
        training_origin=name,
        unseen=held_out,
        unseen_origin=held_out_origin,
    )
    origin = {"judged": str(target), "judged_compression": ours.compression}
    if theirs.size < 2 * side and not statistics:  # of larger ones shrinking leaves little of it
        origin["reference_compression"] = theirs.compression
    judged = cut(images, settings.num)
    return Case(judged, real, origin, settings.nearest_k)


def _best(run: Path) -> Path:
    path = run / "best.safetensors"
    if not path.is_file():
        raise GanVkdError(
            f"--checkpoint best: {run} has chosen no checkpoint: train with --set "
            "data.validation=0.1"
        )
    return path
