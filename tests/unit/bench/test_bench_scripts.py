"""Every benchmark can be started."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench"
SCRIPTS = [path for path in sorted(BENCH.glob("*.py")) if "\nAIMS" in path.read_text()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_says_what_it_measures(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, path, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout


def test_there_are_some() -> None:
    assert {"setup_noop", "console"} <= {path.stem for path in SCRIPTS}
