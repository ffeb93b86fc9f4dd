"""Where tests run in several processes at once, each has virtual boards of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_boards() -> Iterator[None]:
    """Give each process of pytest-xdist a state folder: one would stop the other's boards."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="labctl-hw-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("XDG_STATE_HOME", folder)
        yield
