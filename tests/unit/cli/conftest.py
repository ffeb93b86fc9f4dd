"""Fixtures of the command line's tests: the real program, in a home of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Labctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the home folder that the program gets."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def labctl(tmp_path: Path, home: Path) -> Labctl:
    """Return a function that runs ``labctl`` in ``tmp_path``."""

    def run(
        *arguments: str, stdin: str = "", patch: str = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        plain = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        program = f"{patch}\nfrom labctl.cli.main import main\nmain()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=False,
            cwd=tmp_path,
            env={**plain, **environment},
        )

    return run
