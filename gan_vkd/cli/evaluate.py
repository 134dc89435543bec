"""gan-vkd eval."""

import json
from pathlib import Path
from typing import Any

import click

from gan_vkd.cli.plumbing import begin, data_root_option, device_option, newest, quiet_option
from gan_vkd.config.core import EvaluationSettings
from gan_vkd.terminal import printable


@click.command("eval")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--reference", help="train, test or subset of the run's data; or SPEC[:train|test].")
@click.option("--num", type=click.IntRange(min=2), help="Images judged.  [5000]")
@click.option("--nearest-k", type=click.IntRange(min=1), help="k of neighbourhoods.  [5]")
@click.option("--json", "json_file", help="Write the figures here too; - for standard output.")
@click.option(
    "--extractor",
    "extractors",
    multiple=True,
    help="inception, dinov2, clip, bundled-2, -2b or -1, or a teacher's spec; may be given several "
    "times.  [inception if at hand]",
)
@click.option("--extractor-weights", type=click.Path(path_type=Path), help="Its file of weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the latents.")
@click.option(
    "--checkpoint",
    type=click.Choice(["last", "best"]),
    default="last",
    help="The run's last one, or the one it chose on validation images.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    help="Two results (JSON files, or runs) side by side; or two folders of runs over seeds.",
)
@click.option("--dataset", help="The run's own data, where they have moved.")
@click.option(
    "--size",
    type=click.IntRange(1, 1024),
    help="Bring a folder's images, and the reference, to this side.",
)
@data_root_option
@device_option
@quiet_option
@click.pass_context
def evaluate(
    context: click.Context,
    target: Path | None,
    reference: str | None,
    num: int | None,
    nearest_k: int | None,
    json_file: str | None,
    extractors: tuple[str, ...],
    extractor_weights: Path | None,
    seed: int,
    checkpoint: str,
    compare: tuple[Path, Path] | None,
    dataset: str | None,
    size: int | None,
    data_root: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """FID, IS, KID, precision, recall, density and coverage of a run, or of a folder of images.

    TARGET is a run directory (default the newest), or a folder, zip, .npz or .npy of images
    (uint8 [N, H, W, 3] or [N, 3, H, W]); so may be the reference's SPEC.
    """
    if compare:
        judging = {each.name for each in context.command.params} - {"compare", "json_file", "quiet"}
        _refuse(context, judging, "--compare judges nothing")
        _compare(*compare, json_file, quiet)
        return
    target = target or newest(quiet)
    picked, reporter = begin(device, quiet)

    from gan_vkd.evaluation import judged, protocol
    from gan_vkd.evaluation.features import load_extractor
    from gan_vkd.evaluation.findings import sentences
    from gan_vkd.evaluation.pictures import nearest_picture
    from gan_vkd.evaluation.table import metrics_table
    from gan_vkd.paths import replacing

    given = {"num": num, "nearest_k": nearest_k}
    given = {name: value for name, value in given.items() if value is not None}
    if extractor_weights and len(extractors) > 1:
        raise click.UsageError("--extractor-weights is one extractor's: give one --extractor")
    names = dict.fromkeys(extractors or (None,))
    loaded = [load_extractor(name, extractor_weights, picked) for name in names]
    of_run = judged.is_run(target)
    _refuse(
        context,
        {"size"} if of_run else {"seed", "checkpoint", "dataset"},
        f"{target} is {'a run' if of_run else 'no run'}",
    )
    results = []
    for each in loaded:
        if of_run:
            case = judged.case_of_run(
                target,
                reference=reference,
                overrides=given,
                seed=seed,
                checkpoint=checkpoint,
                dataset=dataset,
                data_root=data_root,
                extractor=each,
                device=picked,
                reporter=reporter,
            )
        else:
            case = judged.case_of_images(
                target,
                reference=reference,
                settings=EvaluationSettings(**given),
                size=size,
                data_root=data_root,
                reporter=reporter,
            )
        result = protocol.evaluate(
            case.judged,
            case.real,
            origin=case.origin,
            extractor=each,
            nearest_k=case.nearest_k,
            reporter=reporter,
        )
        results.append(result)
    said = dict.fromkeys(sentence for result in results for sentence in sentences(result))
    text = _as_text(results[0] if len(results) == 1 else results)
    _show(metrics_table(*results), list(said), text, json_file, quiet)
    places = [
        (judged.result_path(target, each), each, _as_text(each)) for each in results if of_run
    ]
    if json_file not in (None, "-"):
        places.append((Path(json_file), results[0], text))
    for place, result, written in places:
        copies = result["copies"]
        picture = nearest_picture(copies, case.judged.images, case.real.training.images)
        with replacing(place.with_suffix(".nearest.png")) as temporary:
            picture.save(temporary, "PNG")
        with replacing(place) as temporary:
            temporary.write_text(written)
        reporter.say(f"Written to {place}, with the nearest training images as .nearest.png")


def _compare(first: Path, second: Path, json_file: str | None, quiet: bool) -> None:
    from gan_vkd.evaluation.compare import compare
    from gan_vkd.evaluation.compare_seeds import compare_seeds, holds_runs
    from gan_vkd.evaluation.table import comparison_table, seeds_table
    from gan_vkd.paths import replacing

    of_seeds = [holds_runs(path) for path in (first, second)]
    if any(of_seeds) and not all(of_seeds):
        single = second if of_seeds[0] else first
        raise click.UsageError(f"--compare: {single} is no folder of runs, the other one is")
    compared = compare_seeds(first, second) if all(of_seeds) else compare(first, second)
    text = _as_text(compared)
    table = seeds_table(compared) if all(of_seeds) else comparison_table(compared)
    said = [compared["warning"]] if compared.get("warning") else []
    _show(table, said, text, json_file, quiet)
    if json_file not in (None, "-"):
        with replacing(Path(json_file)) as temporary:
            temporary.write_text(text)


def _refuse(context: click.Context, names: set[str], why: str) -> None:
    """Flags that were given and would do nothing."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name in names and source == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{why}: drop {parameter.opts[0]}")


def _as_text(result: dict) -> str:
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def _show(table: Any, said: list[str], text: str, json_file: str | None, quiet: bool) -> None:
    """The table on standard output, or where that is for JSON on standard error.

    Lines are as wide as they need to be where no terminal sets a width.
    """
    from rich.console import Console

    if json_file == "-":
        click.echo(text, nl=False)
    console = Console(stderr=json_file == "-", quiet=quiet and json_file == "-")
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)
    for sentence in said:
        console.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)
