"""A virtual lab for tests: real machines, their own state folder, the shared image cache.

Fixtures:
    lab: a lab of its own, nothing running, torn down after the test.
    make_lab: make several such labs in one test, or keep one for a module.
    box: one running box for the whole run, for tests that only look, or leave it as it was.
    postgres: a PostgreSQL server with databases on demand.

Mark a test ``vm`` (QEMU) or ``fleet`` (root); it is skipped, and says why, only where that cannot
work at all.

    from virtual_lab import Lab

    @pytest.mark.vm
    def test_something(lab: Lab) -> None:
        lab.up("box1")
        assert lab.sh("box1", "hostname") == (0, "box1\\n")
        lab.labctl("setup", "box1", "--yes")
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import Server, missing, running
from virtual_lab import INVENTORY, Lab, MakeLab

from labctl.errors import DependencyError
from labctl.vlab import programs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_vm, no_fleet = _why_no_vm(), _why_no_fleet()
    for item in items:
        if no_vm and item.get_closest_marker("vm"):
            item.add_marker(pytest.mark.skip(reason=no_vm))
        if no_fleet and item.get_closest_marker("fleet"):
            item.add_marker(pytest.mark.skip(reason=no_fleet))


def _why_no_vm() -> str | None:
    rootless = {} if os.geteuid() == 0 else programs.ROOTLESS_PROGRAMS
    keyring = [(programs.KEYRING, programs.KEYRING_PACKAGE)]
    try:
        programs.require(programs.BOX_PROGRAMS, programs.BUILD_PROGRAMS, rootless, files=keyring)
    except DependencyError as error:
        return str(error)
    return None


def _why_no_fleet() -> str | None:
    if os.geteuid() != 0:
        return "a fleet needs root for its mounts and namespaces"
    return _why_no_vm()


@pytest.fixture(scope="session")
def make_lab() -> Iterator[MakeLab]:
    """Return a function that makes labs; all are torn down at the end."""
    made: list[Lab] = []
    with contextlib.ExitStack() as stack:

        def make(inventory: str = INVENTORY, *, cache: Path | None = None) -> Lab:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labctl-lab-"))
            made.append(Lab(Path(folder), inventory=inventory, cache=cache))
            return made[-1]

        yield make
        for lab in made:
            lab.labctl("lab", "down")


@pytest.fixture
def lab(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab with box1 and box2, both down."""
    fresh = make_lab()
    yield fresh
    fresh.down()


@pytest.fixture(scope="session")
def box(make_lab: MakeLab) -> Lab:
    """A lab whose box1 runs for the whole test run; do not change box1."""
    shared = make_lab()
    shared.up("box1")
    return shared


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server of Debian's, for the run, on a socket and a loopback port of its own."""
    why = missing()
    if why:
        pytest.skip(why)
    with running() as server:
        yield server
