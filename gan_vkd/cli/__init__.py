"""The commands: parse, check, call one function each. Heavy imports wait until they are needed."""

import io
import sys

import click

from gan_vkd import __version__
from gan_vkd.cli.bench import bench
from gan_vkd.cli.classify import classify
from gan_vkd.cli.data import data
from gan_vkd.cli.evaluate import evaluate
from gan_vkd.cli.plumbing import OneLineGroup, processes_started
from gan_vkd.cli.recipe import methods, recipe
from gan_vkd.cli.report import report
from gan_vkd.cli.sample import sample
from gan_vkd.cli.teacher import teacher
from gan_vkd.cli.train import train
from gan_vkd.terminal import lasting

TOGETHER = ("train", "sample", "eval", "classify")  # what several processes of torchrun share


@click.group(cls=OneLineGroup)
@click.version_option(__version__, prog_name="gan-vkd")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train a BigGAN on few images with V_kD, draw samples from it, and evaluate them."""
    command = context.invoked_subcommand
    if command not in TOGETHER and processes_started() > 1:
        raise click.UsageError(f"{command} runs in one process: start it without torchrun")


def main() -> None:
    """The console script; characters that a terminal lacks and closed pipes are tolerated."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            setattr(sys, name, lasting(stream))
    cli(prog_name="gan-vkd")


COMMANDS = (train, sample, evaluate, report, recipe, methods, data, teacher, classify, bench)
for command in COMMANDS:
    cli.add_command(command)
