"""Judge the classes of a run's samples by a classifier that had no part in its training.

Usage: python scripts/judge_classes.py RUN [--data-root DIR] [--extractor bundled-1]

A logistic regression on the features of a bundled evaluator (default: the newest), fitted to the
data set's whole training split, judges the real test images (the yardstick) and 5,000 samples
(seed 0): the share given the class they were asked for (top-1) or having it among their five
likeliest (top-5), and the classes that are recognised most often. Chance is 1 / classes, and
5 / classes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gan_vkd import load_generator
from gan_vkd.config.layers import read_config
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import BUNDLED, bundled_names, extract, load_extractor
from gan_vkd.progress import Reporter

SAMPLES = 5_000


def judge(run: Path, data_root: str | None, extractor_name: str) -> None:
    recipe, reporter = read_config(run).data, Reporter(quiet=False)
    generator = load_generator(run)
    root = data_root or recipe.data_root
    dataset = load_dataset(
        recipe.dataset,
        image_size=generator.image_size,
        data_root=None if root is None else Path(root),
    )
    extractor = load_extractor(extractor_name, None, torch.device("cpu"))

    def features(images: torch.Tensor, what: str) -> np.ndarray:
        return extract(extractor, images, what, reporter).features.numpy()

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    classifier.fit(features(dataset.train.images, "training images"), dataset.train.labels.numpy())
    asked = generator.labels(SAMPLES).numpy()
    samples = features(generator.sample(SAMPLES), "samples")
    judged = {"samples": (samples, asked)}
    if dataset.test is not None:
        real = features(dataset.test.images, "test images")
        judged = {"real test images": (real, dataset.test.labels.numpy()), **judged}
    for name, (x, labels) in judged.items():
        likeliest = classifier.predict_proba(x).argsort(axis=1)[:, ::-1]
        top1 = likeliest[:, 0] == labels
        top5 = (likeliest[:, :5] == labels[:, None]).any(axis=1)
        print(f"{name:17} top-1 {top1.mean():.3f}  top-5 {top5.mean():.3f} [{extractor.name}]")
    shares = [(top1[labels == label].mean(), label) for label in np.unique(labels)]
    best = ", ".join(
        f"{generator.class_names[i]} {share:.2f}" for share, i in sorted(shares)[:-11:-1]
    )
    print(f"samples' best classes: {best}")
    print(f"classes with at least a quarter recognised: {sum(s >= 0.25 for s, _ in shares)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root")
    parser.add_argument("--extractor", default=BUNDLED, choices=bundled_names())
    given = parser.parse_args()
    try:
        judge(given.run, given.data_root, given.extractor)
    except GanVkdError as error:
        parser.error(str(error))
