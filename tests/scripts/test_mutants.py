import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = Path(__file__).resolve().parents[2] / "scripts" / "mutants.py"


def mutants(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(MUTANTS), *flags], capture_output=True, text=True)


def test_a_fault_is_noticed():
    result = mutants("G ascends")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "1 of 1 killed"


@pytest.mark.slow
def test_every_fault_is_noticed():
    result = mutants()
    assert result.returncode == 0, result.stdout + result.stderr
