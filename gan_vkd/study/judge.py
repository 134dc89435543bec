"""Judge the generators of one unit by the whole data set; what is judged is not judged again."""

import json

import torch

from gan_vkd.bench.table import machine
from gan_vkd.config.core import EvaluationSettings
from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.evaluation.features import load_extractor
from gan_vkd.evaluation.judged import sides
from gan_vkd.evaluation.protocol import RealImages, evaluate
from gan_vkd.gan.exported import load_generator
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.study.plan import Unit, Workplace

LATENT_SEED = 0


def judge_unit(work: Workplace, unit: Unit, *, device: torch.device, reporter: Reporter) -> None:
    """Write the figures of `gan-vkd eval` for each checkpoint that is there, by each extractor.

    Held-out real images are judged beside the baseline's samples only: they are always the same.

    Raises:
        GanVkdError: data, a generator or an extractor that can't be loaded.
    """
    study, loaded = work.study, None
    for number, name in work.to_judge(unit):
        generator = load_generator(work.generator(unit, number)).to(device)
        if loaded is None:
            spec, share = unit.dataset, study.datasets[unit.dataset]
            loaded = load_dataset(
                spec,
                image_size=generator.image_size,
                data_root=work.data_root,
                reporter=reporter,
            )
            data = split_training(loaded, share, "balanced", unit.seed)
        reference, origin, held_out, held_out_origin = sides(loaded, "train")
        if unit.arm != study.baseline:
            held_out = None
        real = RealImages(
            *(reference, origin, held_out, held_out_origin),
            training=data.train,
            training_origin="the run's training images",
            unseen=data.held_out,
            unseen_origin=data.held_out_origin,
        )
        labels = generator.labels(study.num)
        images = generator.sample(study.num, labels.tolist(), LATENT_SEED, batch_size=500)
        spec = study.recipe(unit, number, {}).teacher.spec
        result = evaluate(
            ImageSet(images, labels, generator.class_names),
            real,
            origin={
                "judged": "exported generator",
                "run": str(unit),
                "checkpoint": f"iteration {number}",
                "latent_seed": LATENT_SEED,
                "extractor_is_the_teacher": name == spec,
            },
            extractor=load_extractor(name, None, device),
            nearest_k=EvaluationSettings().nearest_k,
            reporter=reporter,
        )
        with replacing(work.judgement(unit, number, name)) as temporary:
            text = json.dumps({**result, "machine": machine(device)}, indent=1, allow_nan=False)
            temporary.write_text(text + "\n")
