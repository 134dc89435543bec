import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize(
    ("script", "more"),
    [("judge_classes.py", []), ("judge_digits.py", []), ("train_evaluator.py", ["out"])],
)
def test_what_is_not_there_is_refused_in_one_line(script, more, tmp_path):
    command = [sys.executable, SCRIPTS / script, tmp_path / "nothing", *more]
    result = subprocess.run(command, capture_output=True, text=True)
    *usage, error = result.stderr.splitlines()
    assert result.returncode == 2
    assert usage[0].startswith("usage: ")
    assert f"{tmp_path / 'nothing'}: n" in error  # no run, neither a folder nor a known name
    assert "Traceback" not in result.stderr
