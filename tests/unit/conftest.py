"""Fixtures of all unit tests: a real shell."""

import os
import subprocess
from collections.abc import Callable

import pytest

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def sh() -> Shell:
    """Return a function that runs a snippet as sessions do: on the input of ``sh -s``."""

    def run(script: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            ["sh", "-s"],
            input=script.encode(),
            capture_output=True,
            timeout=60,
            check=False,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )

    return run
