"""What `gan-vkd eval` judges: a run, or a folder or zip of images; and by which reference."""

from pathlib import Path

import torch

from gan_vkd.config import EvaluationSettings, read_config
from gan_vkd.data.folder import common_size
from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import Extractor
from gan_vkd.evaluation.protocol import cut, evaluate
from gan_vkd.gan.exported import latents, load_generator
from gan_vkd.progress import Reporter


def is_run(target: Path) -> bool:
    """Whether `target` is a run directory (a folder of images has no config.yaml)."""
    return (target / "config.yaml").is_file()


def result_path(run: Path, result: dict) -> Path:
    """Where a run keeps a result: named by reference, count and extractor."""
    protocol = result["protocol"]
    reference = "".join(c if c.isalnum() else "-" for c in protocol["reference"])
    name = f"{reference}-{protocol['judged_count']}-{result['extractor']}.json"
    return run / "eval" / name


def judge_run(
    run: Path,
    *,
    reference: str | None,
    overrides: dict[str, int],
    seed: int,
    data_root: Path | None,
    extractor: Extractor,
    device: torch.device,
    reporter: Reporter,
) -> dict:
    """Judge a run's exported generator; labels in the training data's proportions.

    Args:
        run: the run directory.
        reference: `train`, `test` or `subset` of the run's own data, or a spec; default the
            recipe's.
        overrides: fields of `EvaluationSettings` that flags set.
        seed: of the latents.
        data_root: in place of the recipe's.
        extractor, device, reporter: as everywhere.

    Raises:
        GanVkdError: no checkpoint yet, or data that can't be loaded.
    """
    recipe = read_config(run)
    generator = load_generator(run).to(device)
    settings = recipe.evaluation.model_copy(update=overrides)
    own = reference or settings.reference
    root = data_root or (Path(recipe.data.data_root) if recipe.data.data_root else None)
    if own in ("train", "test", "subset"):
        dataset = load_dataset(
            recipe.data.dataset,
            image_size=generator.image_size,
            data_root=root,
            skip_bad=recipe.data.skip_bad,
            reporter=reporter,
        )
        named = f"{dataset.name}:{own}"
        if own == "subset":
            drawn = (recipe.data.subset, recipe.data.subset_draw, recipe.training.seed)
            data = split_training(dataset, *drawn)
            real, held_out, held_out_origin = data.train, data.held_out, data.held_out_origin
        else:
            real, held_out, held_out_origin = _sides(dataset, own)
    else:
        named = own
        dataset, split = _load_reference(own, generator.image_size, root, reporter)
        real, held_out, held_out_origin = _sides(dataset, split)

    labels = generator.labels(settings.num)
    pictures = []
    parts = torch.arange(settings.num).split(500)
    z_dim = generator.network.shape["z_dim"]
    for part in reporter.track(parts, "Generating images", len(parts)):
        pictures.append(generator.draw(latents(part.tolist(), z_dim, seed), labels[part]))
    judged = ImageSet(torch.cat(pictures), labels, generator.class_names)
    origin = {
        "judged": f"exported generator at iteration {generator.card['iteration']}, the last one",
        "latent_seed": seed,
        "reference": named,
        "held_out": held_out_origin,
    }
    return evaluate(
        judged,
        real,
        held_out,
        origin=origin,
        extractor=extractor,
        nearest_k=settings.nearest_k,
        reporter=reporter,
    )


def judge_images(
    target: Path,
    *,
    reference: str | None,
    settings: EvaluationSettings,
    data_root: Path | None,
    extractor: Extractor,
    reporter: Reporter,
) -> dict:
    """Judge a folder or zip of images of one size by a data set.

    Raises:
        GanVkdError: no such images, sizes that differ, or no reference.
    """
    if not target.exists():
        raise GanVkdError(f"{target}: no such run, folder or zip")
    if reference is None or reference in ("train", "test", "subset"):
        raise GanVkdError(
            f"{target}: not a run (no config.yaml in it); for a folder or zip of images say "
            "--reference SPEC, as in --reference cifar100:test"
        )
    size = common_size(target)
    images = load_dataset(str(target), image_size=size, reporter=reporter).train
    dataset, split = _load_reference(reference, size, data_root, reporter)
    real, held_out, held_out_origin = _sides(dataset, split)
    origin = {"judged": str(target), "reference": reference, "held_out": held_out_origin}
    return evaluate(
        cut(images, settings.num),
        real,
        held_out,
        origin=origin,
        extractor=extractor,
        nearest_k=settings.nearest_k,
        reporter=reporter,
    )


def _load_reference(
    text: str, image_size: int, data_root: Path | None, reporter: Reporter
) -> tuple[Dataset, str]:
    """`SPEC[:train|test]` → the data set and the split's name."""
    spec, _, split = text.rpartition(":")
    if split not in ("train", "test"):
        spec, split = text, "train"
    dataset = load_dataset(spec, image_size=image_size, data_root=data_root, reporter=reporter)
    return dataset, split


def _sides(dataset: Dataset, split: str) -> tuple[ImageSet, ImageSet | None, str]:
    """The reference, the held-out real images beside it, and where those come from."""
    if dataset.test is None:
        if split == "test":
            raise GanVkdError(f"--reference: {dataset.name} has no test split: use its train split")
        return dataset.train, None, "none: the data set has no second split"
    if split == "test":
        return dataset.test, dataset.train, "the training split"
    return dataset.train, dataset.test, "the test split"
