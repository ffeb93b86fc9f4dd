"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let tests interrupt commands wherever pytest was started.

    A shell that starts pytest in the background has it ignore SIGINT, and with it every command.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
