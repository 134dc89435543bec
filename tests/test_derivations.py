"""docs/derivations.md says what its command says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_tables_are_the_command_s():
    script = ROOT / "scripts" / "derivations.py"
    output = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True
    ).stdout
    document = (ROOT / "docs" / "derivations.md").read_text()
    tables = output.strip().split("\n\n")
    assert len(tables) == 3
    for table in tables:
        assert table in document, table
