"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# Files of tests that take longest, seconds on an idle machine of two cores in the order of hundreds
# down to thirty. Four files run at a time: a long one that begins last runs alone.
_LONGEST = (
    "integration/setup/test_setup_box.py",
    "integration/boards/test_flash_linux_board.py",
    "integration/boards/test_flash_uboot.py",
    "integration/vlab/test_lab_box.py",
    "integration/boards/test_flash_avr.py",
    "integration/boards/test_board_faults.py",
    "integration/boards/test_session_hazards.py",
    "integration/fpga/test_cores.py",
    "integration/boards/test_board_expect.py",
    "integration/vlab/test_lab_board.py",
    "integration/fpga/test_fpga.py",
    "integration/boards/test_session_shells.py",
)


# How long an example takes says more of the machine's other work than of us.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the few that take minutes run too."""
    parser.addoption("--long", action="store_true", help="run tests marked as long, too")


def pytest_configure(config: pytest.Config) -> None:
    """Let tests interrupt commands wherever pytest was started.

    A shell that starts pytest in the background has it ignore SIGINT, and with it every command.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long; tests of one file stay together, in their order."""
    items.sort(key=_place)
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: make test LONG=1"))


def _place(item: pytest.Item) -> int:
    path = item.path.as_posix()
    for place, name in enumerate(_LONGEST):
        if path.endswith(name):
            return place
    # Those of hw_tests leave a board at work till the end, and a waiting U-Boot takes a core.
    return len(_LONGEST) + ("/tests/unit/" in path) + 2 * ("/hw_tests/" in path)
