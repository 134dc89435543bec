import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize("script", ["judge_classes.py", "judge_digits.py"])
def test_what_is_no_run_is_refused_in_one_line(script, tmp_path):
    command = [sys.executable, SCRIPTS / script, tmp_path / "nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    *usage, error = result.stderr.splitlines()
    assert result.returncode == 2
    assert usage[0].startswith("usage: ")
    assert f"{tmp_path / 'nothing'}: no" in error
    assert "Traceback" not in result.stderr
