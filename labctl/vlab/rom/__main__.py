"""``python -m labctl.vlab.rom``: run one board until SIGTERM or QMP ``quit``.

It leaves ``line`` (the URL of its line) and ``qmp.sock`` in its folder while it runs, and what its
flash holds for the next time; it starts switched off, and is quiet: mistakes in its arguments are
one line on standard error, exit code 2.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.fileio import write_atomic
from labctl.vlab import program
from labctl.vlab.program import end_on_signals
from labctl.vlab.rom.board import Board, Port
from labctl.vlab.rom.chip import load_chip
from labctl.vlab.rom.families import WIRINGS, make_chip
from labctl.vlab.rom.loop import Loop
from labctl.vlab.rom.monitor import Commands, Monitor
from labctl.vlab.rom.pty_port import PtyPort
from labctl.vlab.rom.rfc2217_port import Rfc2217Port
from labctl.vlab.rom.settings import Settings
from labctl.vlab.rom.uart import Format


def _commands(board: Board, name: str, loop: Loop) -> Commands:
    def status(_: Mapping[str, Any]) -> object:
        # QEMU says "prelaunch" after -S until the first cont.
        off = "paused" if board.boots else "prelaunch"
        on = board.powered
        return {"status": "running" if on else off, "running": on, "singlestep": False}

    def pins(levels: Mapping[str, Any]) -> None:
        for pin, high in levels.items():
            board.chip.set_pin(pin, bool(high))

    return {
        "cont": lambda _: board.power(True),
        "stop": lambda _: board.power(False),
        "system_reset": lambda _: board.reset(),
        "query-name": lambda _: {"name": name},
        "query-status": status,
        "quit": lambda _: loop.stop(),
        "x-fault": board.fault,
        "x-pins": pins,
        "x-plug": lambda values: board.plug(bool(values.get("plugged"))),
        "x-state": lambda _: board.state(),
    }


def _run(folder: Path, name: str, pidfile: Path, values: dict[str, Any]) -> None:
    settings = Settings().changed(values)
    loop = Loop()
    monitors: list[Monitor] = []
    family = load_chip(settings.chip)["family"]

    def tell(event: str) -> None:
        for monitor in monitors:
            monitor.event(event)

    def signals(dtr: bool | None, rts: bool | None) -> None:
        wiring.set(dtr, rts)

    def host() -> Format:
        return port.format()

    port: Port
    if settings.line == "pty":
        port = PtyPort(loop, folder / "console")
        url = str(folder / "console")
    else:
        port = Rfc2217Port(loop, signals)
        url = port.url
    if not settings.serial:
        settings = settings.changed({"serial": zlib.crc32(name.encode())})
    chip = make_chip(settings, folder, host)
    board = Board(
        chip, port, paced=settings.paced, most_baud=settings.most_baud, clock=time.monotonic,
        tell=tell,
    )  # fmt: skip
    wiring = WIRINGS[family](board)
    try:
        write_atomic(pidfile, f"{os.getpid()}\n", mode=0o644)
        write_atomic(folder / "line", f"{url}\n", mode=0o600)
        # The socket comes last: whoever finds it finds all the rest.
        monitors.append(Monitor(folder / "qmp.sock", loop, _commands(board, name, loop)))
        end_on_signals(loop)
        loop.run(board.service)
    finally:
        port.plug(False)
        for monitor in monitors:
            monitor.close()
        pidfile.unlink(missing_ok=True)


def main() -> int:
    """Run the program; return its exit code."""
    return program.main("labctl.vlab.rom", __doc__, "docs/rom-boards.md", _run)


if __name__ == "__main__":
    sys.exit(main())
