"""Train an evaluator: by default the network and settings of `bundled-2`.

IMAGES is the folder tinyimagenet32-b: 50,000 training and 5,000 held-out photographs of 100
classes of Tiny ImageNet (Stanford CS231n), 32x32 pixels; none of them is in CIFAR. Figures are
comparable under one set of weights only, so retraining bumps the number in the name. Other
options make another judge, to be used as --extractor file:OUT.
"""

import argparse
from pathlib import Path

from gan_vkd.classification.fit import FitSettings, fit_file
from gan_vkd.device import pick_device, resolve_precision
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import Reporter


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("out", metavar="OUT.safetensors", type=Path)
    parser.add_argument("--widths", type=int, nargs="+", default=[24, 56, 112, 224])
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 3, 1], help="a stage")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--peak-lr", type=float, default=0.4)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--colour", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = vars(parser.parse_args())
    images, out = options.pop("images"), options.pop("out")
    options |= {"widths": tuple(options["widths"]), "blocks": tuple(options["blocks"])}
    if len(options["blocks"]) != len(options["widths"]) - 1:
        parser.error("--blocks takes one number for each of --widths after the first")
    try:
        device = pick_device(options.pop("device"))
        accuracy = fit_file(
            images,
            out,
            FitSettings(**options, precision=resolve_precision("auto", device)),
            image_size=32,
            data_root=None,
            skip_bad=False,
            device=device,
            reporter=Reporter(),
        )
    except GanVkdError as error:
        parser.error(str(error))
    print(f"{out}: held-out top-1 {accuracy:.2%}")


if __name__ == "__main__":
    main()
