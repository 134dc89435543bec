"""What is said is said in any encoding, and to nobody without harm."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from gan_vkd import progress

FULL = Path("/dev/full")

COMMAND = """
import sys
from pathlib import Path
import click
from rich.console import Console
from rich.table import Table
from gan_vkd import cli
from gan_vkd.progress import Reporter

@click.command()
@click.argument("place", type=Path)
def speak(place):
    reporter = Reporter()
    with reporter.bar("Übung", 3) as bar:
        for _ in range(3):
            bar.advance(status="5 ± 1 猫")
            reporter.say("ä 猫 —")
    table = Table("Größe")
    table.add_row("5.0 ± 1.0 猫")
    Console().print(table)
    click.echo("the figures " * 1000)
    place.write_text("all done")

cli.cli.add_command(speak)
sys.argv.insert(1, "speak")
cli.main()
"""


def speak(place, encoding: str = "utf-8", **streams) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.Popen([sys.executable, "-c", COMMAND, place], env=environment, **streams)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_figure_is_lost_to_an_encoding(tmp_path, encoding):  # CASES 18
    process = speak(tmp_path / "done", encoding, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, said = process.communicate()
    assert process.returncode == 0, said
    assert b"5.0 " in out
    assert b"Traceback" not in said
    assert (tmp_path / "done").read_text() == "all done"
    if encoding == "ascii":
        assert rb"5.0 \xb1 1.0" in out


def test_without_a_reader_it_goes_on(tmp_path):  # CASES 27
    reading, writing = os.pipe()
    os.close(reading)
    process = speak(tmp_path / "done", stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait() == 0
    assert (tmp_path / "done").read_text() == "all done"


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is full")
def test_a_full_disk_is_no_reader_that_went(tmp_path):  # CASES 27
    with FULL.open("w") as full:
        process = speak(tmp_path / "done", stdout=full, stderr=subprocess.PIPE)
        assert b"No space left" in process.communicate()[1]
    assert process.returncode != 0


def test_a_log_file_has_a_line_a_minute(monkeypatch):
    reporter, seconds = progress.Reporter(), iter(range(0, 10_000, 25))
    reporter.console = Console(file=io.StringIO(), width=200)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    for _ in reporter.track(range(5), "Decoding", 5):
        pass
    said = reporter.console.file.getvalue().splitlines()
    assert next(line for line in said if line.startswith("Decoding")) == "Decoding 3/5"
    assert sum(line.startswith("Decoding") for line in said) == 2  # and the bar at the end
