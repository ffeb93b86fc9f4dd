"""The lab as pytest fixtures: ``pytest --labctl-inventory FILE --board NAME``.

The same tests run on the virtual lab and on real boards, by pointing them at another inventory.
Leases are bound to this process: they end when the fixture does, and when pytest crashes.

Fixtures:
    lab: the loaded inventory, `labctl.inventory.model.Inventory`.
    board: each board chosen with ``--board`` (default: all boards of the inventory), leased.
    console: the line of ``board``, a `labctl.boards.client.LineClient`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labctl.boards.bench import Bench
    from labctl.boards.client import LineClient
    from labctl.inventory.model import Inventory

_WAIT_S = 600.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("labctl", "boards of a lab")
    group.addoption("--labctl-inventory", metavar="FILE", help="inventory file of the lab")
    group.addoption(
        "--board", action="append", default=[], metavar="NAME",
        help="board, glob or @tag to test on; may be repeated (default: all boards)",
    )  # fmt: skip


def _load(config: pytest.Config) -> Inventory:
    from labctl.inventory.loader import find_inventory, load_inventory  # noqa: PLC0415

    return load_inventory(find_inventory(config.getoption("labctl_inventory")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``board`` once for each chosen board."""
    if "_board_name" not in metafunc.fixturenames:
        return
    from labctl.errors import LabctlError  # noqa: PLC0415
    from labctl.inventory.selection import select_boards  # noqa: PLC0415

    try:
        inventory = _load(metafunc.config)
        words = metafunc.config.getoption("board") or ["all"]
        names = [board.name for board in select_boards(inventory, words)]
    except LabctlError as error:
        raise pytest.UsageError(str(error)) from error
    metafunc.parametrize("_board_name", names, scope="session")


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Inventory:
    """The inventory, with the machines of the running virtual lab in it."""
    return _load(request.config)


@pytest.fixture(scope="session")
def board(_board_name: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A board of the lab, its line leased to this test run; a virtual one is started if need be."""
    from labctl.boards.bench import Bench  # noqa: PLC0415

    inventory = _load(request.config)
    entry = inventory.boards[_board_name]
    started = entry.virtual and entry.line is None
    if started:
        from labctl.vlab import lab as engine  # noqa: PLC0415
        from labctl.vlab.board_model import read_virtual  # noqa: PLC0415

        def switch_on(name: str) -> None:
            fresh = _load(request.config)
            with Bench(fresh.boards[name], fresh.path) as bench:
                bench.switch("on")

        models = {_board_name: read_virtual(entry.model, inventory.path)}
        outcomes = engine.boards_up(inventory.path, models, lambda line: None, switch_on)
        if outcomes[0].error:
            raise outcomes[0].error
    fresh = _load(request.config)
    try:
        with Bench(fresh.boards[_board_name], fresh.path) as bench:
            bench.acquire("pytest", wait_s=_WAIT_S)
            yield bench
    finally:
        if started:
            engine.down(inventory.path, [_board_name], lambda line: None)


@pytest.fixture
def console(board: Bench) -> LineClient:
    """The line of the board."""
    return board.line
