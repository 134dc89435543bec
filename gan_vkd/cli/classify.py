"""gan-vkd classify."""

import math
import shlex
import time
from pathlib import Path
from typing import Any

import click

from gan_vkd.cli.plumbing import (
    begin,
    config_option,
    data_root_option,
    device_option,
    joined,
    newest,
    quiet_option,
    require_new,
    run_options,
    say_result,
    set_option,
    skip_bad_option,
    stopped,
    teacher_weights_option,
)
from gan_vkd.cli.train import absolute_paths, flag_layer
from gan_vkd.config.layers import continued, file_layer, resolve, set_layer
from gan_vkd.errors import GanVkdError

FIELDS = {
    "dataset": ("data", "dataset"),
    "subset": ("data", "subset"),
    "size": ("data", "image_size"),
    "data_root": ("data", "data_root"),
    "skip_bad": ("data", "skip_bad"),
    "student": ("student", "name"),
    "teacher": ("teacher", "spec"),
    "teacher_size": ("teacher", "image_size"),
    "teacher_weights": ("teacher", "weights"),
    "method": ("distill", "method"),
    "projection": ("distill", "projection"),
    "normalise": ("distill", "normalise"),
    "epochs": ("training", "epochs"),
    "seed": ("training", "seed"),
    "deterministic": ("training", "deterministic"),
}


@click.command()
@click.option(
    "--dataset", help="cifar100, cifar10, digits, or a folder, zip, tar or .npz of images."
)
@click.option("--subset", type=float, help="Share of the training images, 0 < F <= 1.")
@click.option("--size", type=int, help="Pixels of a side: a multiple of 16, to 256.  [32]")
@data_root_option
@skip_bad_option
@click.option("--student", help="vgg8, resnet8x4, mobilenetv2, ..., timm:NAME, efficientnet-lite0.")
@click.option(
    "--teacher", help="file:PATH of a trained classifier, or a teacher of gan-vkd teacher list."
)
@click.option("--teacher-size", type=int, help="Side of the teacher's input, pixels.")
@teacher_weights_option
@click.option("--method", help="none, kd, fitnet, crd, vkd, ...: see gan-vkd methods.  [none]")
@click.option(
    "--pair",
    metavar="TEACHER:STUDENT",
    help="A pair of the benchmark, as resnet32x4:shufflenetv1; --teacher file:PATH is the first.",
)
@click.option("--projection", help="Projection P of --method vkd.")
@click.option("--normalise", help="Normalisation of the targets of --method vkd.")
@config_option
@set_option
@click.option("--epochs", type=int, help="Passes over the training images.")
@run_options("runs/classify/")
@device_option
@quiet_option
def classify(
    pair: str | None,
    configs: tuple[Path, ...],
    assignments: tuple[str, ...],
    run_dir: Path | None,
    resume: bool,
    time_limit: float | None,
    dry_run: bool,
    device: str,
    quiet: bool,
    **flags: Any,
) -> int:
    """Train a classifier, from labels alone or taught by a frozen one.

    Later settings override earlier ones: the CRD benchmark's, --config, --set, other flags.
    --method none trains a teacher: RUN/network.safetensors serves as --teacher file:PATH. The run
    directory is printed on standard output, all other text on standard error.
    """
    began = time.monotonic()
    deadline = math.inf if time_limit is None else began + time_limit
    with joined() as settling_together:
        with settling_together:
            if pair is not None:
                _take_pair(pair, flags, resume)
            layers = [(f"--config {config}", file_layer(config)) for config in configs]
            layers += [("--set", set_layer(assignments)), ("the flags", flag_layer(flags, FIELDS))]
            layers = _of_one_method([(where, absolute_paths(layer)) for where, layer in layers])
            picked, reporter = begin(device, quiet)

            from gan_vkd.config.classification import ClassificationRecipe
            from gan_vkd.device import compute_deterministically
            from gan_vkd.training.classify import CLASSIFIERS, run_classification

            if resume:
                run_dir = run_dir or newest(quiet, CLASSIFIERS)
                recipe = continued(run_dir, layers, ClassificationRecipe)
            else:
                recipe = resolve(layers, ClassificationRecipe)
                require_new(run_dir)
        if recipe.training.deterministic:
            compute_deterministically()
        done = run_classification(
            recipe,
            device=picked,
            wanted=run_dir,
            resume=resume,
            dry_run=dry_run,
            deadline=deadline,
            reporter=reporter,
        )
    if done.outcome is None:
        return 0
    say_result(done.run)
    if done.outcome.reason != "done":
        return stopped("classify", done.run, done.outcome, reporter)
    for line in _summary(done.result, done.run):
        reporter.say(line)
    return 0


def _summary(result: dict | None, run: Path) -> list[str]:
    file = shlex.quote(str(run / "network.safetensors"))
    if result is None:
        return [f"Done: no held-out images. --teacher file:{file}"]
    last, best, key = result["last"], result["best"], "top1"
    images = f"{result['held_out_images']:,} held-out images"
    if key not in last:
        key, images = "validation_top1", "validation images"
    return [
        f"Last epoch     top-1 {last[key]:.2%} of {images}",
        f"Best epoch     top-1 {best[key]:.2%}, epoch {best['epoch']:g}, chosen on "
        f"{best['selected_on']}",
        f"Done: --teacher file:{file}",
    ]


def _take_pair(pair: str, flags: dict[str, Any], resume: bool) -> None:
    """The student of a pair, and a check that the teacher is the pair's; a resumed run has one."""
    from gan_vkd.distill.classifiers import NETWORKS, read_classifier

    teacher, colon, student = pair.partition(":")
    for name in (teacher, student):
        if not colon or name not in NETWORKS:
            raise click.UsageError(f"--pair {pair}: write TEACHER:STUDENT of {', '.join(NETWORKS)}")
    if flags["student"] not in (None, student):
        raise click.UsageError(f"--pair {pair}: its student is {student}, not {flags['student']}")
    flags["student"], spec = student, flags["teacher"]
    if resume and spec is None:
        return
    if spec is None or not spec.startswith("file:"):
        raise click.UsageError(
            f"--pair {pair}: pass --teacher file:PATH of a trained {teacher} "
            f"(gan-vkd classify --student {teacher} --method none trains one)"
        )
    found = read_classifier(Path(spec.removeprefix("file:")).expanduser()).shape.name
    if found != teacher:  # on one machine of several, perhaps
        raise GanVkdError(f"--pair {pair}: {spec} holds {found}, not {teacher}")


def _of_one_method(layers: list[tuple[str, dict]]) -> list[tuple[str, dict]]:
    """Layers whose `distill` all name the method: the one that the last of them names.

    So that its fields can be set by --set beside --method.
    """

    def distill(layer: dict) -> dict:
        fields = layer.get("distill")
        return fields if isinstance(fields, dict) else {}

    named = [fields["method"] for _, layer in layers if "method" in (fields := distill(layer))]
    if not named:
        return layers
    return [
        (where, layer | {"distill": {"method": named[-1], **distill(layer)}})
        if distill(layer)
        else (where, layer)
        for where, layer in layers
    ]
