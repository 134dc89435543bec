"""Judge a run on digits by classifiers and distances that had no part in its training.

Usage: python scripts/judge_digits.py RUN

Prints the share of 1,000 class-conditional samples that a support vector machine, trained on
scikit-learn's real digits alone, gives the class they were asked for; and the coverage of the
1,797 real digits by 1,797 samples, k = 5, on the 64 grey values of 8x8 pixels.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from gan_vkd import load_generator
from gan_vkd.evaluation import compute_prdc


def grey_values(images: torch.Tensor) -> np.ndarray:
    """uint8 [N, 3, 16, 16] → [N, 64], 0 to 16 as scikit-learn has them."""
    return F.avg_pool2d(images.float().mean(dim=1), 2).flatten(1).numpy() * 16 / 255


def judge(run: str) -> dict[str, float]:
    digits = load_digits()
    classifier = SVC(gamma=0.001, C=10)
    generator = load_generator(run)
    asked = generator.labels(1_000).numpy()
    accuracy_on_real = cross_val_score(classifier, digits.data, digits.target, cv=5).mean()
    given = classifier.fit(digits.data, digits.target).predict(grey_values(generator.sample(1_000)))
    samples = grey_values(generator.sample(len(digits.data), seed=1))
    return {
        "classifier on real digits, 5-fold": accuracy_on_real,
        "samples given their class": float((given == asked).mean()),
        **compute_prdc(digits.data, samples, nearest_k=5),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, value in judge(sys.argv[1]).items():
        print(f"{name:34} {value:.3f}")
