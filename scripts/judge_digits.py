"""Judge a run on digits by classifiers and distances that had no part in its training.

Usage: python scripts/judge_digits.py RUN

Prints the share of 1,000 class-conditional samples that a support vector machine, trained on
scikit-learn's real digits alone, gives the class they were asked for; and precision, recall,
density and coverage of 1,797 samples against the 1,797 real digits, k = 5: on the 64 grey values
of 8x8 pixels, and on the 256 of the 16x16 pixels that the run draws, where a pattern finer than a
pixel of the 8x8 shows too.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from gan_vkd import load_generator
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation import compute_prdc


def grey_values(images: torch.Tensor, side: int = 8) -> np.ndarray:
    """uint8 [N, C, 16, 16] → [N, side²], 0 to 16 as scikit-learn has them."""
    grey = images.float().mean(dim=1) * 16 / 255
    return F.avg_pool2d(grey, 16 // side).flatten(1).numpy()


def judge(run: str) -> dict[str, float]:
    digits = load_digits()
    classifier = SVC(gamma=0.001, C=10)
    generator = load_generator(run)
    asked = generator.labels(1_000).numpy()
    accuracy_on_real = cross_val_score(classifier, digits.data, digits.target, cv=5).mean()
    given = classifier.fit(digits.data, digits.target).predict(grey_values(generator.sample(1_000)))
    samples = generator.sample(len(digits.data), seed=1)
    real = load_dataset("digits", image_size=16).train.images
    pixels = compute_prdc(grey_values(real, 16), grey_values(samples, 16), nearest_k=5)
    return {
        "classifier on real digits, 5-fold": accuracy_on_real,
        "samples given their class": float((given == asked).mean()),
        **compute_prdc(digits.data, grey_values(samples), nearest_k=5),
        **{f"{name}, 16x16 pixels": value for name, value in pixels.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    try:
        judged = judge(parser.parse_args().run)
    except GanVkdError as error:
        parser.error(str(error))
    for name, value in judged.items():
        print(f"{name:34} {value:.3f}")
