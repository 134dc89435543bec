"""Train the evaluator that ships with the package, `bundled-1`.

Usage: python scripts/train_evaluator.py IMAGES OUT.safetensors

IMAGES is the folder tinyimagenet32-b: 50,000 training and 5,000 held-out photographs of 100
classes of Tiny ImageNet (Stanford CS231n), 32x32 pixels; none of them is in CIFAR. This is
`gan-vkd teacher fit` for 6 epochs. Figures are comparable under one set of weights only, so
retraining bumps the number in the name.
"""

import sys

from gan_vkd.cli import cli

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    images, out = sys.argv[1:]
    cli(["teacher", "fit", "--dataset", images, "--out", out, "--epochs", "6", "--seed", "0"])
