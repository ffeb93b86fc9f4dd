"""Fixtures of the set-up tests: real shells on folders of the test's own."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder of the test's own, so that nothing of the person's is read."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.delenv("LABCTL_INVENTORY", raising=False)
    return folder


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
