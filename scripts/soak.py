"""Break a real training run again and again, and compare it with one that nobody touched.

Usage: python scripts/soak.py [--kills 50] [--signal KILL|TERM] [--damage KIND] [--seed 0]

Trains on the handwritten digits with the teacher efficientnet-lite0: once unbroken, and once
broken off at random moments after its first checkpoint, checkpoint writes among them, and resumed
each time. Then every tensor of the last checkpoint and of the exported generator must have the
same bits, and log.jsonl the same lines but for what tells the time: no gap, no double step.

--damage does harm at every break:
    truncate  cuts a file of the newest checkpoint at a random byte, before it is resumed
    flip      flips a random bit of a file of the newest checkpoint
    disk      in place of the signal: no file may grow beyond a random size, as when a quota is
              used up in the middle of a write; the run must end by itself, in one line

Exit code 0: all resumed, all bits the same.
"""

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gan_vkd.tensors import read_tensors

SPACING, EVERY = 6, 2  # iterations between two breaks, and between two checkpoints
SETTINGS = [
    *("training.batch_size=8", "training.d_steps=1", "training.log_every=1"),
    *(f"training.checkpoint_every={EVERY}", "training.sample_every=7", "training.ema_start=5"),
    *("distill.generated_every=8", "data.subset=0.2", "training.precision=fp32"),
]
CLOCKS = ("images_per_second", "seconds")  # of a log line
PATIENCE = 600  # seconds without a sign of life


def start(run: Path, iterations: int, resume: bool) -> subprocess.Popen:
    command = [sys.executable, "-m", "gan_vkd", "train", "--device", "cpu", "--run-dir", str(run)]
    if resume:
        command.append("--resume")
    else:
        command += ["--preset", "tiny", "--iterations", str(iterations)]
        command += [word for setting in SETTINGS for word in ("--set", setting)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def logged(run: Path) -> int:
    """The iteration of the log's last whole line."""
    log = run / "log.jsonl"
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return json.loads(lines[-1])["iteration"] if lines else 0


def wait_for(process: subprocess.Popen, condition: callable) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            output = process.communicate()[0]
            sys.exit(f"it ended, or hung, by itself (exit code {process.returncode}):\n{output}")
        time.sleep(0.002)


def checkpoints(run: Path) -> list[Path]:
    return sorted(p for p in (run / "checkpoints").glob("*") if p.name.isdecimal())


def unfinished(run: Path) -> bool:
    """Whether a checkpoint's temporary folder is there."""
    return any((run / "checkpoints").glob(".*.tmp"))


def in_training(process: subprocess.Popen, run: Path) -> bool:
    """Whether this process, not one before it, has begun to train: its event file is there."""
    return any(run.glob(f"events.*.{process.pid}"))


def end_of(process: subprocess.Popen, expected: int, damaged: bool) -> str:
    """Wait for the end, which must be as expected; returns what was printed."""
    output = process.communicate(timeout=PATIENCE)[0]
    if process.returncode != expected or "Traceback" in output:
        sys.exit(f"exit code {process.returncode}, not {expected}:\n{output}")
    if damaged and "is damaged" not in output:
        sys.exit(f"the damaged checkpoint was not noticed:\n{output}")
    return output


def break_off(process: subprocess.Popen, run: Path, target: int, args: argparse.Namespace) -> str:
    """Break the process at a random moment after iteration `target`; says how."""
    draw = args.draw
    ready = lambda: in_training(process, run) and logged(run) >= target  # noqa: E731
    wait_for(process, lambda: ready() and len(checkpoints(run)) >= 2)
    if draw.random() < 0.5:  # a checkpoint's writing is short: aim at it every other time
        wait_for(process, lambda: unfinished(run))
        time.sleep(draw.uniform(0, 0.03))
    else:
        time.sleep(draw.uniform(0, 0.2))
    if args.damage == "disk":
        largest = (checkpoints(run)[-1] / "state.safetensors").stat().st_size
        limit = int(draw.uniform(0, largest))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        how, expected = f"no file may exceed {limit:,} bytes", 2
    else:
        number = signal.Signals[f"SIG{args.signal}"]
        process.send_signal(number)
        how, expected = number.name, -9 if number == signal.SIGKILL else 128 + number
    began = time.monotonic()
    output = end_of(process, expected, args.harmed)
    args.slowest = max(args.slowest, time.monotonic() - began)
    args.caught_writing += unfinished(run)
    if args.damage == "disk":
        errors = [line for line in output.splitlines() if line.startswith("Error: ")]
        if len(errors) != 1:
            sys.exit(f"{how}: not one line:\n{output}")
        how += f": {errors[0].partition(': ')[2].replace(str(run), run.name)[:72]}..."
    return how


def do_harm(run: Path, args: argparse.Namespace) -> str:
    """Damage the newest checkpoint; says how."""
    file = args.draw.choice(sorted(checkpoints(run)[-1].iterdir()))
    content = bytearray(file.read_bytes())
    place = args.draw.randrange(len(content))
    if args.damage == "truncate":
        del content[place:]
    else:
        content[place] ^= 1 << args.draw.randrange(8)
    file.write_bytes(content)
    return f", {file.relative_to(run)} {args.damage} at byte {place:,}"


def steps(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in CLOCKS} for line in lines]


def differences(whole: Path, broken: Path, iterations: int) -> list[str]:
    found = []
    newest = f"checkpoints/{iterations:08d}/state.safetensors"
    for name in (newest, "generator.safetensors"):
        (ours, header), (theirs, other_header) = (read_tensors(r / name) for r in (whole, broken))
        if header != other_header or ours.keys() != theirs.keys():
            found.append(f"{name}: other tensors")
        else:
            found += [f"{name}: {key}" for key in ours if not ours[key].equal(theirs[key])]
    if [step["iteration"] for step in steps(broken)] != list(range(1, iterations + 1)):
        found.append("log.jsonl: a gap or a double step")
    if steps(whole) != steps(broken):
        found.append("log.jsonl: other values")
    if any(broken.rglob("*.tmp")):
        found.append("a temporary file stayed")
    return found


def soak(folder: Path, args: argparse.Namespace) -> None:
    iterations = SPACING * (args.kills + 2)
    whole, broken = folder / "whole", folder / "broken"
    end_of(start(whole, iterations, resume=False), 0, False)
    print(f"The unbroken run: {iterations} iterations", flush=True)
    process = start(broken, iterations, resume=False)
    for kill in range(1, args.kills + 1):
        how = break_off(process, broken, SPACING * kill + args.draw.randrange(EVERY), args)
        print(f"{kill:3}/{args.kills}  iteration {logged(broken):4}: {how}", end="", flush=True)
        if args.damage in ("truncate", "flip"):
            print(do_harm(broken, args), end="", flush=True)
            args.harmed = True
        print(flush=True)
        process = start(broken, iterations, resume=True)
    end_of(process, 0, args.harmed)
    found = differences(whole, broken, iterations)
    print(
        f"{args.kills} of {args.kills} resumed; {args.caught_writing} had left a half written "
        f"checkpoint; the slowest end came {args.slowest:.1f} s after its break; "
        + (f"DIFFERENT: {', '.join(found[:5])}" if found else "IDENTICAL BITS")
    )
    sys.exit(bool(found))


def main() -> None:
    head, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=head, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    parser.add_argument("--damage", choices=["truncate", "flip", "disk"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="A new folder for the two runs.")
    args = parser.parse_args()
    args.draw, args.harmed, args.slowest, args.caught_writing = (
        random.Random(args.seed),
        False,
        0,
        0,
    )
    if args.keep is not None:
        soak(args.keep, args)
    with tempfile.TemporaryDirectory() as folder:
        soak(Path(folder), args)


if __name__ == "__main__":
    main()
