"""gan-vkd eval."""

import json
from pathlib import Path

import click

from gan_vkd.cli.plumbing import begin, data_root_option, device_option, newest, quiet_option
from gan_vkd.config import EvaluationSettings


@click.command("eval")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--reference", help="train, test or subset of the run's data; or SPEC[:train|test].")
@click.option("--num", type=click.IntRange(min=2), help="Images judged.  [5000]")
@click.option("--nearest-k", type=click.IntRange(min=1), help="k of PRDC.  [5]")
@click.option("--json", "json_file", help="Write the figures here too; - for standard output.")
@click.option(
    "--extractor", type=click.Choice(["inception", "bundled-1"]), help="Default: at hand."
)
@click.option("--inception-weights", type=click.Path(path_type=Path), help="torch-fidelity's file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the latents.")
@data_root_option
@device_option
@quiet_option
def evaluate(
    target: Path | None,
    reference: str | None,
    num: int | None,
    nearest_k: int | None,
    json_file: str | None,
    extractor: str | None,
    inception_weights: Path | None,
    seed: int,
    data_root: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """FID, IS, KID, precision, recall, density and coverage of a run, or of a folder of images.

    TARGET is a run directory (default the newest), or a folder or zip of images.
    """
    target = target or newest(quiet)
    picked, reporter = begin(device, quiet)
    from rich.console import Console

    from gan_vkd.evaluation import judged
    from gan_vkd.evaluation.features import load_extractor
    from gan_vkd.evaluation.report import metrics_table
    from gan_vkd.paths import replacing

    given = {"num": num, "nearest_k": nearest_k}
    given = {name: value for name, value in given.items() if value is not None}
    loaded = load_extractor(extractor, inception_weights, picked)
    if judged.is_run(target):
        result = judged.judge_run(
            target,
            reference=reference,
            overrides=given,
            seed=seed,
            data_root=data_root,
            extractor=loaded,
            device=picked,
            reporter=reporter,
        )
    else:
        result = judged.judge_images(
            target,
            reference=reference,
            settings=EvaluationSettings(**given),
            data_root=data_root,
            extractor=loaded,
            reporter=reporter,
        )
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    places = [judged.result_path(target, result)] if judged.is_run(target) else []
    if json_file not in (None, "-"):
        places.append(Path(json_file))
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary:
            temporary.write_text(text)
        reporter.say(f"Written to {place}")
    if json_file == "-":
        click.echo(text, nl=False)
    Console(stderr=json_file == "-", quiet=quiet and json_file == "-").print(metrics_table(result))
