import runpy
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_quickstarts_digits_are_readable_and_varied(gan_vkd, tmp_path):
    """The whole preset `tiny`, judged by what had no part in its training."""
    run = tmp_path / "run"
    result = gan_vkd("train", "--preset", "tiny", "--run-dir", run, "--quiet")
    assert result.exit_code == 0, result.output
    script = Path(__file__).parents[1] / "scripts" / "judge_digits.py"
    figures = runpy.run_path(str(script))["judge"](str(run))
    assert figures["samples given their class"] >= 0.95
    assert figures["coverage"] >= 0.7
    assert figures["recall"] >= 0.1
    assert figures["coverage, 16x16 pixels"] >= 0.5  # strokes made of combs have .2
