"""Measure what whitening makes of near copies, and of a teacher in bf16: docs/whitening.md.

Usage: python scripts/whitening_table.py [DATA_ROOT]

Prints Markdown. A batch is 50 training photographs of CIFAR-100, each of another class, under
efficientnet-lite0 at 64 pixels; a near copy of the first takes the place of the last. Cells are the
mean ± the standard deviation over the batches; over all images in the table of bf16.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from gan_vkd.bench.table import machine, markdown
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.sources import load_dataset
from gan_vkd.device import autocast
from gan_vkd.distill.normalise import Centre, LayerNorm, Whiten, WhitenIterative
from gan_vkd.distill.teachers import Teacher, load_teacher

BATCHES, BF16_BATCHES, BATCH, SEED = 100, 20, 50, 0
BRIGHTER = 25  # grey levels
CPU = torch.device("cpu")

COPIES = {
    "±1 grey level of noise": lambda image, draws: image + _signs(image, draws),
    "mirrored": lambda image, _: image.flip(-1),
    f"{BRIGHTER} grey levels brighter": lambda image, _: image + BRIGHTER,
}
PARTNERS = [*COPIES, "another of its class", "one of another class"]
RIDGES = {f"{ridge:g}": Whiten(ridge) for ridge in (0, 0.01, 0.03, 0.1, 0.3, 1)}


def _signs(image: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    return 2 * torch.randint(2, image.shape, generator=draws) - 1


def draw(train: ImageSet, draws: torch.Generator) -> torch.Tensor:
    """uint8 [50 + 4, ...]: a batch, then its first image's partners but the last."""
    classes = torch.randperm(len(train.class_names), generator=draws)[:BATCH]
    members = [torch.where(train.labels == label)[0] for label in classes]
    first, other = members[0][torch.randperm(len(members[0]), generator=draws)[:2]]
    rest = [own[torch.randint(len(own), (), generator=draws)] for own in members[1:]]
    batch = train.images[torch.stack([first, *rest])]
    copies = [copy(batch[0].int(), draws).clamp(0, 255).byte() for copy in COPIES.values()]
    return torch.cat([batch, torch.stack([*copies, train.images[other]])])


def paired(features: torch.Tensor, partner: int) -> torch.Tensor:
    """The batch's features with the partner in the last place, where it isn't already."""
    last = features[BATCH + partner] if partner < len(PARTNERS) - 1 else features[BATCH - 1]
    return torch.cat([features[: BATCH - 1], last[None]])


def cosine(rows: torch.Tensor) -> float:
    return F.cosine_similarity(rows[0], rows[-1], dim=0).item()


def distance(rows: torch.Tensor) -> float:
    return ((rows[0] - rows[-1]).norm() / F.pdist(rows).square().mean().sqrt()).item()


def directions(rows: torch.Tensor) -> float:
    """(Σλ)² / Σλ²: how many directions the variance lies along (the participation ratio)."""
    values = torch.linalg.svdvals(Centre()(rows).double()).square()
    return (values.sum().square() / values.square().sum()).item()


def cell(values: list[float] | torch.Tensor) -> str:
    values = torch.as_tensor(values)
    return f"{values.mean():.3f} ± {values.std():.3f}"


def near_copies(drawn: list[torch.Tensor]) -> str:
    """Cosines and distances of targets, and the number of directions, by ridge."""
    ways = {"centred": Centre(), **RIDGES}
    tables = {"cosine": [], "distance": []}
    for partner, name in enumerate(PARTNERS):
        batches = [paired(features, partner) for features in drawn]
        targets = {way: [normalise(z) for z in batches] for way, normalise in ways.items()}
        for of, table in ((cosine, tables["cosine"]), (distance, tables["distance"])):
            columns = {"teacher": batches, **targets}.values()
            table.append([name, *(cell([of(z) for z in column]) for column in columns)])
    along = [cell([directions(z) for z in column]) for column in targets.values()]  # no copies
    header = ["teacher", *ways]
    return "\n\n".join(
        [
            markdown(["cosine with the first", *header], tables["cosine"]),
            markdown(["distance to the first", *header], tables["distance"]),
            markdown(["targets", *ways], [["directions", *along]]),
        ]
    )


def half_precision(exact: list[torch.Tensor], rough: list[torch.Tensor]) -> str:
    """How far features in bf16, and the targets made of them, are from those in fp32.

    "near copy": the noisy copy's target, in batches that hold it.
    """
    ways = {"none": lambda z: z, "layernorm": LayerNorm(), "centred": Centre()}
    ways |= {f"whiten, ridge {name}": ridge for name, ridge in RIDGES.items()}
    ways["whiten-iterative"] = WhitenIterative()
    rows = []
    for name, normalise in ways.items():
        ours, theirs = (torch.cat([normalise(z[:BATCH]) for z in side]) for side in (rough, exact))
        error = (ours - theirs).norm(dim=1) / theirs.norm(dim=1)
        cosines = F.cosine_similarity(ours, theirs)
        copies = (
            torch.stack([normalise(paired(z, 0))[-1] for z in side]) for side in (rough, exact)
        )
        near = cell(F.cosine_similarity(*copies))
        rows.append([name, cell(error), cell(cosines), f"{cosines.min():.3f}", near])
    header = ["targets", "relative error", "cosine with fp32", "smallest", "near copy"]
    return markdown(header, rows)


def see(teacher: Teacher, images: torch.Tensor, precision: str) -> torch.Tensor:
    with autocast(CPU, precision):
        return teacher(to_float(images))


def main(data_root: str | None) -> None:
    root = None if data_root is None else Path(data_root)
    train = load_dataset("cifar100", image_size=32, data_root=root).train
    teacher = load_teacher("efficientnet-lite0", 64)
    draws = torch.Generator().manual_seed(SEED)
    images = [draw(train, draws) for _ in range(BATCHES)]
    exact = [see(teacher, part, "fp32") for part in images]
    rough = [see(teacher, part, "bf16") for part in images[:BF16_BATCHES]]
    print(near_copies(exact), half_precision(exact[:BF16_BATCHES], rough), sep="\n\n")
    print(f"\n{BATCHES} batches, {BF16_BATCHES} for bf16, seed {SEED}. {machine(CPU)}.")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    main(*(sys.argv[1:] or [None]))
