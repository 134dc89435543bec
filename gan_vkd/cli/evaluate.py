"""gan-vkd eval."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan_vkd.cli.plumbing import (
    begin,
    data_root_option,
    device_option,
    joined,
    newest,
    quiet_option,
    skip_bad_option,
)
from gan_vkd.config.core import EvaluationSettings
from gan_vkd.terminal import printable

if TYPE_CHECKING:
    from gan_vkd.evaluation.judged import Case
    from gan_vkd.progress import Reporter

FIELD_NUM = 10_000  # samples of the data-limited literature


@click.command("eval")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option(
    "--reference",
    help="Real images to compare with: train, test or subset (of the run's data), "
    "SPEC[:train|test], or a file written by --save-stats.  [train]",
)
@click.option(
    "--save-stats",
    type=click.Path(path_type=Path),
    help="Write the statistics of the reference to this .npz, for later use by --reference.",
)
@click.option(
    "--moments-only",
    is_flag=True,
    help="With --save-stats: write mean and covariance without features, for FID and IS only.",
)
@click.option("--num", type=click.IntRange(min=2), help="Number of images to evaluate.  [5000]")
@click.option(
    "--protocol",
    "named",
    type=click.Choice(["field"]),
    help="field: 10,000 samples against the run's test split, as in papers on CIFAR.",
)
@click.option(
    "--nearest-k",
    type=click.IntRange(min=1),
    help="k of precision, recall, density and coverage.  [5]",
)
@click.option(
    "--json", "json_file", help="Also write the metrics to this file; - for standard output."
)
@click.option(
    "--extractor",
    "extractors",
    multiple=True,
    help="Feature extractor: inception, dinov2, clip, bundled-2, bundled-2b, bundled-1, or a "
    "teacher; may be given several times.  [inception where its weights are present, else "
    "bundled-2]",
)
@click.option(
    "--extractor-weights", type=click.Path(path_type=Path), help="The extractor's weights."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the latents.  [0]")
@click.option(
    "--checkpoint",
    type=click.Choice(["last", "best"]),
    default="last",
    help="The last checkpoint, or the one chosen on validation images.  [last]",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    help="Compare two results (JSON files, or runs), or two folders of runs over seeds, without a "
    "new evaluation.",
)
@click.option("--dataset", help="New place of the run's data set, if it has moved.")
@click.option(
    "--size",
    type=click.IntRange(1, 1024),
    help="Resize both the images and the reference to this many pixels.",
)
@skip_bad_option
@data_root_option
@device_option
@quiet_option
@click.pass_context
def evaluate(
    context: click.Context,
    target: Path | None,
    reference: str | None,
    save_stats: Path | None,
    moments_only: bool,
    num: int | None,
    named: str | None,
    nearest_k: int | None,
    json_file: str | None,
    extractors: tuple[str, ...],
    extractor_weights: Path | None,
    seed: int,
    checkpoint: str,
    compare: tuple[Path, Path] | None,
    dataset: str | None,
    size: int | None,
    skip_bad: bool,
    data_root: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """Evaluate a run, or image files: FID, IS, KID, precision, recall, density, coverage.

    TARGET is a run directory (default: the newest run), or a folder, zip, tar, .npz or .npy of
    images. SPEC names a data set as in gan-vkd train --dataset.
    """
    if compare:
        judging = {each.name for each in context.command.params} - {"compare", "json_file", "quiet"}
        _refuse(context, judging, "--compare evaluates nothing")
        _compare(*compare, json_file, quiet)
        return
    if moments_only and save_stats is None:
        raise click.UsageError("--moments-only needs --save-stats")
    if save_stats is not None and save_stats.suffix != ".npz":
        raise click.UsageError(f"--save-stats {save_stats}: the name must end in .npz")
    if named == "field":
        _refuse(context, {"num", "reference"}, "--protocol field sets it")
        num, reference = FIELD_NUM, "test"
    target = target or newest(quiet)
    for flag, value in (("extractor-weights", extractor_weights), ("save-stats", save_stats)):
        if value and len(extractors) > 1:
            raise click.UsageError(f"--{flag} is one extractor's: give one --extractor")
    with joined():
        from gan_vkd import processes
        from gan_vkd.evaluation import judged, protocol
        from gan_vkd.evaluation.features import load_extractor
        from gan_vkd.evaluation.reference import Reference, save_statistics

        picked, reporter = begin(device, quiet)
        given = {"num": num, "nearest_k": nearest_k}
        given = {name: value for name, value in given.items() if value is not None}
        names = dict.fromkeys(extractors or (None,))
        loaded = [load_extractor(name, extractor_weights, picked) for name in names]
        of_run = judged.is_run(target)
        _refuse(
            context,
            {"size"} if of_run else {"seed", "checkpoint", "dataset", "named"},
            f"{target} is {'a run' if of_run else 'not a run'}",
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
                    skip_bad=skip_bad,
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
                    skip_bad=skip_bad,
                    extractor=each,
                    reporter=reporter,
                )
            if save_stats is not None:
                if isinstance(case.real.reference, Reference):
                    raise click.UsageError(
                        "--save-stats: the reference is a statistics file already: drop "
                        "--save-stats"
                    )
                measured = protocol.as_reference(case.real, each, reporter)
                processes.on_first(
                    partial(save_statistics, with_features=not moments_only), measured, save_stats
                )
                reporter.say(f"Statistics of the reference: {save_stats}")
            result = protocol.evaluate(
                case.judged,
                case.real,
                origin=case.origin,
                extractor=each,
                nearest_k=case.nearest_k,
                reporter=reporter,
            )
            results.append(result)
        run = target if of_run else None
        processes.on_first(_tell, results, case, run, json_file, quiet, reporter)


def _tell(
    results: list[dict],
    case: "Case",
    run: Path | None,
    json_file: str | None,
    quiet: bool,
    reporter: "Reporter",
) -> None:
    """Show the results and write them: into the run, and to --json.

    Args:
        results: one an extractor.
        case: the images of the last of them.
        run: what was evaluated, if it is a run.
        json_file, quiet, reporter: as above.
    """
    from gan_vkd.evaluation.findings import sentences
    from gan_vkd.evaluation.judged import result_path
    from gan_vkd.evaluation.pictures import nearest_picture
    from gan_vkd.evaluation.table import metrics_table
    from gan_vkd.paths import replacing

    said = dict.fromkeys(sentence for result in results for sentence in sentences(result))
    text = _as_text(results[0] if len(results) == 1 else results)
    _show(metrics_table(*results), list(said), text, json_file, quiet)
    places = [] if run is None else [(result_path(run, r), r, _as_text(r)) for r in results]
    if json_file not in (None, "-"):
        places.append((Path(json_file), results[0], text))
    for place, result, written in places:
        beside = ""
        if result["copies"] is not None:
            picture = nearest_picture(
                result["copies"], case.judged.images, case.real.training.images
            )
            with replacing(place.with_suffix(".nearest.png")) as temporary:
                picture.save(temporary, "PNG")
            beside = ", with the nearest training images as .nearest.png"
        with replacing(place) as temporary:
            temporary.write_text(written)
        reporter.say(f"Written to {place}{beside}")


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
