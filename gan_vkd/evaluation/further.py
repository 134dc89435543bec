"""What reviewers ask for beside the nine metrics: MIND, Vendi, and what tells of memorisation."""

import math

import numpy as np
import torch

from gan_vkd.evaluation.authenticity import authenticity, copying_statistic, to_training
from gan_vkd.evaluation.copies import Seen
from gan_vkd.evaluation.metrics import SEED, Metric, as_json, with_error
from gan_vkd.evaluation.mind import mind
from gan_vkd.evaluation.preference import preference
from gan_vkd.evaluation.search import Index
from gan_vkd.evaluation.vendi import vendi
from gan_vkd.progress import Reporter

FEWEST = 2  # training images that AuthPct needs


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
        `preference`, see there; `authenticity` of `judged` and of `held_out` images, and
        `copying_statistic`, each with its interval, in features.
    """
    if unseen is None or len(training.images) < FEWEST:
        return None
    index = Index(training.features, device)
    sides = {"judged": judged[0], "held_out": unseen}
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        name: to_training(side.features, index, reporter) for name, side in sides.items()
    }
    statistic = Metric(*copying_statistic(found["judged"][0], found["held_out"][0]))
    return {
        "preference": preference(
            judged, training, unseen, seed=SEED, device=device, reporter=reporter
        ),
        "authenticity": as_json(
            {name: with_error(*authenticity(*near)) for name, near in found.items()}
        ),
        **as_json({"copying_statistic": statistic}),
    }
