import os
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"


def soak(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SOAK), *flags]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ)


def test_a_run_killed_five_times_ends_with_the_same_bits():
    result = soak("--kills", "5", "--seed", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "5/5" in result.stdout
    assert "5 of 5 resumed" in result.stdout.splitlines()[-1]
    assert "IDENTICAL BITS" in result.stdout.splitlines()[-1]
