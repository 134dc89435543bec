"""Judge the generators of one unit by the whole data set; what is judged is not judged again."""

import json
from functools import partial

import torch

from gan_vkd.bench.table import machine
from gan_vkd.config.core import EvaluationSettings
from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.evaluation.features import load_extractor
from gan_vkd.evaluation.named_reference import sides
from gan_vkd.evaluation.proportions import evaluation_labels
from gan_vkd.evaluation.protocol import INTERVALS, cut, figures
from gan_vkd.gan.exported import load_generator
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.study.plan import Unit, Workplace

LATENT_SEED = 0


def without_generator(work: Workplace) -> list[str]:
    """What is trained and can't be judged: checkpoints whose generators are elsewhere."""
    return [
        f"{unit}/{number}/{name}"
        for unit in work.study.units()
        for number, name in work.unjudged(unit)
        if not work.generator(unit, number).is_file()
    ]


def judge_unit(work: Workplace, unit: Unit, *, device: torch.device, reporter: Reporter) -> None:
    """Write the metrics of each checkpoint that is there, by each extractor.

    They are those of `gan-vkd eval`; its findings are for single runs. Held-out real images are
    judged beside the baseline's samples only: they are always the same.

    Raises:
        GanVkdError: data, a generator or an extractor that can't be loaded.
    """
    study, loaded = work.study, None
    for number, name in work.to_judge(unit):
        generator = load_generator(work.generator(unit, number)).to(device)
        if loaded is None:
            loaded = load_dataset(
                unit.dataset,
                image_size=generator.image_size,
                data_root=work.data_root,
                reporter=reporter,
            )
        reference, origin, held_out, held_out_origin = sides(loaded, "train")
        extractor, nearest_k = load_extractor(name, None, device), EvaluationSettings().nearest_k
        judge = partial(
            figures,
            reference=reference,
            extractor=extractor,
            nearest_k=nearest_k,
            reporter=reporter,
        )
        labels, _ = evaluation_labels(generator, reference, study.num, 0)
        images = generator.sample(study.num, labels.tolist(), LATENT_SEED, batch_size=500)
        yardstick = None
        if unit.arm == study.baseline and held_out is not None:
            held_out = cut(held_out, study.num)
            yardstick = {"count": len(held_out), "metrics": judge(held_out, held_out=True)}
        spec = study.recipe(unit, number, {}).teacher.spec
        result = {
            "extractor": name,
            "protocol": {
                "judged": "exported generator",
                "run": str(unit),
                "checkpoint": f"iteration {number}",
                "judged_count": study.num,
                "latent_seed": LATENT_SEED,
                "reference": origin,
                "reference_count": len(reference),
                "held_out": held_out_origin,
                "nearest_k": nearest_k,
                "extractor_is_the_teacher": name == spec,
                "extractor_sha256": extractor.sha256,
                "intervals": INTERVALS,
            },
            "metrics": judge(ImageSet(images, labels, generator.class_names)),
            "held_out": yardstick,
        }
        with replacing(work.judgement(unit, number, name)) as temporary:
            text = json.dumps({**result, "machine": machine(device)}, indent=1, allow_nan=False)
            temporary.write_text(text + "\n")
