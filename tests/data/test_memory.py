import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "loading_memory.py"


def test_loading_takes_little_more_than_the_images():
    """Peaks of fresh processes; 59 MB of images, so 12 MB of libraries loaded late are 0.2."""
    command = [sys.executable, SCRIPT, "4800", "64"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    files, cache, seen = map(float, re.findall(r"(\S+) times the images", result.stdout))
    assert 0.9 < files < 1.5
    assert cache < 0.4
    assert 0.9 < seen < 1.6
