import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"


def soak(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SOAK), *flags]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ)


@pytest.mark.slow  # tests/training/test_resume.py kills once and compares the same bits
def test_a_run_killed_five_times_ends_with_the_same_bits():
    kills = 5
    result = soak("--kills", str(kills), "--seed", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{kills}/{kills}" in result.stdout
    assert f"{kills} of {kills} resumed" in result.stdout.splitlines()[-1]
    assert "IDENTICAL BITS" in result.stdout.splitlines()[-1]
