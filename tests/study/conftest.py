from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from click.testing import CliRunner

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "reproduce"


@pytest.fixture(scope="session")
def reproduce():
    """Runs scripts/reproduce in this process → click's Result."""
    loader = SourceFileLoader("reproduce", str(SCRIPT))
    module = module_from_spec(spec_from_loader("reproduce", loader))
    loader.exec_module(module)

    def run(*args):
        arguments = [str(arg) for arg in (*args, "--device", "cpu")]
        return CliRunner().invoke(module.reproduce, arguments, catch_exceptions=False)

    return run
