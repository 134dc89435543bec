"""What reviewers ask for beside the nine metrics: MIND, Vendi, and what tells of memorisation."""

import math
from dataclasses import asdict

import numpy as np
import torch

from gan_vkd.evaluation.authenticity import authenticity, copying_statistic, to_training
from gan_vkd.evaluation.cells import cells_of, copying_over_cells
from gan_vkd.evaluation.copies import Seen
from gan_vkd.evaluation.fld import feature_likelihood_divergence
from gan_vkd.evaluation.kept import Tensors, of_real
from gan_vkd.evaluation.metrics import SEED, Metric, as_json, with_error
from gan_vkd.evaluation.mind import mind
from gan_vkd.evaluation.preference import preference
from gan_vkd.evaluation.search import Index
from gan_vkd.evaluation.vendi import vendi
from gan_vkd.progress import Reporter

FEWEST = 2  # training images that AuthPct needs
FEWEST_OF_FLD = 4  # training images that make two halves


def of_samples(
    judged: torch.Tensor, reference: torch.Tensor, device: torch.device
) -> dict[str, Metric]:
    """MIND and the Vendi score.

    Args:
        judged: features [N, d].
        reference: features [N, d] of as many real images.
        device: where they are computed.
    """
    entropy, error = vendi(judged.numpy(), device)
    parts = vars(with_error(entropy, error)).values()
    return {
        "mind": with_error(*mind(judged, reference, seed=SEED, device=device)),
        "vendi": Metric(*(None if part is None else math.exp(part) for part in parts)),
    }


def memorisation(
    judged: tuple[Seen, Seen],
    training: Seen,
    unseen: Seen | None,
    *,
    device: torch.device,
    reporter: Reporter,
) -> dict | None:
    """What tells whether training images were memorised; None without held-out images.

    Args:
        judged: the images, and their mirror images.
        training: what may have been memorised.
        unseen: real images of the same distribution that were not trained on.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        `preference`, see there; `authenticity` of `judged` and of `held_out` images;
        `copying_statistic`; `copying_statistic_over_cells` with the number of `cells` that count;
        `fld`; each with its interval, in features.
    """
    if unseen is None or len(training.images) < FEWEST:
        return None
    index = Index(training.features, device)
    sides = {"judged": judged[0], "held_out": unseen}

    def of_held_out() -> Tensors:
        own, others = to_training(unseen.features, index, reporter)
        return {"own": torch.from_numpy(own), "others": torch.from_numpy(others)}

    arrays = (unseen.features, training.features)
    kept = of_real("to training", arrays, (), device, of_held_out, reporter)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "judged": to_training(judged[0].features, index, reporter),
        "held_out": (kept["own"].numpy(), kept["others"].numpy()),
    }
    statistic = Metric(*copying_statistic(found["judged"][0], found["held_out"][0]))
    points = {name: side.features for name, side in sides.items()}
    cells = cells_of(training.features, *points.values(), seed=SEED)
    by_cell = zip((found[name][0] for name in sides), cells, strict=True)
    over_cells, counted = copying_over_cells(*by_cell)
    divergence = Metric(None)
    if len(training.images) >= FEWEST_OF_FLD and min(map(len, points.values())) >= FEWEST:
        divergence = with_error(
            *feature_likelihood_divergence(
                points["judged"],
                training.features,
                points["held_out"],
                seed=SEED,
                device=device,
                reporter=reporter,
            )
        )
    return {
        "preference": preference(
            judged, training, unseen, seed=SEED, device=device, reporter=reporter
        ),
        "authenticity": as_json(
            {name: with_error(*authenticity(*near)) for name, near in found.items()}
        ),
        **as_json({"copying_statistic": statistic, "fld": divergence}),
        "copying_statistic_over_cells": {
            **asdict(Metric(*over_cells or (None,))),
            "cells": counted,
        },
    }
