"""Shared parts of the commands: one-line errors, durations, common options, start-up."""

import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import reduce
from pathlib import Path
from typing import Any

import click

from gan_vkd.config.layers import PRESETS
from gan_vkd.errors import EndedElsewhere, GanVkdError
from gan_vkd.terminal import printable


class OneLineErrors:
    """A command with -h, whose errors are one line on standard error and exit code 2."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.context_settings["help_option_names"] = ["-h", "--help"]

    def main(self, *args: Any, **kwargs: Any) -> None:
        """Run a command and exit."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.Abort:
            click.echo("Aborted", err=True)
            sys.exit(130)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.ClickException as error:
            if alike_elsewhere():
                sys.exit(2)
            _fail(error.format_message())
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except EndedElsewhere:
            sys.exit(2)
        except GanVkdError as error:
            _fail(str(error))
        sys.exit(code if isinstance(code, int) else 0)


class OneLineGroup(OneLineErrors, click.Group):
    """A group of commands."""


class OneLineCommand(OneLineErrors, click.Command):
    """A command that stands alone."""


def _fail(message: str) -> None:
    click.echo(f"Error: {printable(' '.join(message.split()))}", err=True)
    sys.exit(2)


class Duration(click.ParamType):
    """`90s`, `25m`, `2h`, `1h30m` → seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The text as seconds."""
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value.strip())
        if not value.strip() or not match:
            self.fail(f"{value!r} is not a duration: write 90s, 25m or 1h30m")
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return float(hours * 3600 + minutes * 60 + seconds)


quiet_option = click.option("--quiet", is_flag=True, help="Print no progress and no notices.")
device_option = click.option(
    "--device", default="auto", help="auto, cpu, cuda, cuda:1, ...  [auto]"
)
data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    help="Folder of cifar10 and cifar100; they are downloaded into it.  [the user's cache]",
)
teacher_weights_option = click.option(
    "--teacher-weights",
    type=click.Path(path_type=Path),
    help="The teacher's weights, as safetensors or a PyTorch state dict.",
)
preset_option = click.option(
    "--preset",
    type=click.Choice(PRESETS),
    help="Base settings.  [cifar; train: lab without a GPU and --config]",
)
config_option = click.option(
    "--config",
    "configs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="YAML recipe that overrides preset or defaults; of several the later override the "
    "earlier.",
)
set_option = click.option(
    "--set", "assignments", multiple=True, metavar="GROUP.FIELD=VALUE", help="Set any field."
)


def run_options(where: str) -> Callable[[Any], Any]:
    """The flags of a run that a command trains; numbered runs are in `where`."""
    options = [
        click.option("--seed", type=int, help="Random seed.  [0]"),
        click.option(
            "--deterministic",
            is_flag=True,
            help="Use deterministic kernels: the same bits on every run.",
        ),
        click.option(
            "--run-dir",
            type=click.Path(path_type=Path),
            help=f"Run directory to create.  [a new numbered folder in {where}]",
        ),
        click.option(
            "--resume", is_flag=True, help="Continue the run in --run-dir, or the newest run."
        ),
        click.option(
            "--time-limit", type=Duration(), help="Save and stop after this time, such as 25m."
        ),
        click.option(
            "--dry-run", is_flag=True, help="Print the plan and the time it would take, and stop."
        ),
    ]
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


skip_bad_option = click.option(
    "--skip-bad", is_flag=True, help="Skip unreadable images and list them."
)


def processes_started() -> int:
    """How many processes torchrun started this command in; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def alike_elsewhere() -> bool:
    """Whether torchrun's process 0 has the same command, and speaks for this process too."""
    return processes_started() > 1 and os.environ.get("RANK", "0") != "0"


@contextmanager
def joined() -> Iterator[AbstractContextManager]:
    """Among torchrun's processes; gives the context in which they fail together."""
    if processes_started() == 1:
        yield nullcontext()
        return
    from gan_vkd import processes

    with processes.joined():
        yield processes.failing_together()


def say_result(text: object) -> None:
    """A line on standard output, from one process."""
    if not alike_elsewhere():
        click.echo(printable(str(text)))


def begin(device: str = "auto", quiet: bool = False) -> tuple[Any, Any]:
    """The device and the reporter of a command that computes."""
    import torch

    from gan_vkd.device import pick_device
    from gan_vkd.progress import Reporter

    torch.set_flush_denormal(True)  # denormals slow a CPU many times over
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what it warns of is refused, or harmless
    return pick_device(device), Reporter(quiet or alike_elsewhere())


def require_new(run_dir: Path | None) -> None:
    """Refuse a --run-dir that exists."""
    if run_dir is not None and run_dir.exists():
        raise GanVkdError(
            f"--run-dir {run_dir}: already exists: continue it with --resume, or choose another "
            "name"
        )


def stopped(command: str, run: Path, outcome: Any, reporter: Any) -> int:
    """Say how a run that was stopped is continued; the exit code."""
    why = "Time is up" if outcome.reason == "time" else "Interrupted"
    reporter.say(
        f"{why}: saved at iteration {outcome.iteration:,}. "
        f"Continue with gan-vkd {command} --resume --run-dir {shlex.quote(str(run))}"
    )
    return 128 + outcome.signal if outcome.signal else 0


def newest(quiet: bool, runs: Path | None = None) -> Path:
    """The newest run in runs/, or in another folder; its name is printed."""
    from gan_vkd.engine.run_dir import RUNS, newest_run

    run = newest_run(runs or RUNS)
    if not quiet and not alike_elsewhere():
        click.echo(printable(f"Using the newest run: {run}"), err=True)
    return run
