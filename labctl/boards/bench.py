"""One board on the bench: its model, its line, its power, and the conversations with it.

The one place where the parts of this room are put together, for the command line and for tests.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from labctl.boards import boot, rates
from labctl.boards import reset as resetting
from labctl.boards.attach import attach, place_of
from labctl.boards.boot import Booter, Rung
from labctl.boards.client import LineClient
from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.dialects.uboot import UBootShell
from labctl.boards.model import BoardModel, load_model
from labctl.boards.power.switch import Power
from labctl.boards.rates import RateFinding
from labctl.boards.reset import ResetResult
from labctl.boards.sender import SenderProfile
from labctl.boards.session import Result, Session
from labctl.boards.signs import BoardPanicError
from labctl.boards.state import HARMLESS, Detector, Finding, State
from labctl.errors import BusyError, LabctlError, UnreachableError, UsageError
from labctl.fileio import write_atomic
from labctl.inventory.model import Board

_TAIL_BYTES = 8192
_BOOT_TARGETS = ("uboot", "linux")

Say = Callable[[str], None]
Ask = Callable[[str], None]


def power_of(board: Board, model: BoardModel, *, ask: Ask | None = None) -> Power | None:
    """Return what switches ``board``, or None where nothing does.

    Args:
        board: Which one.
        model: Its model.
        ask: Asks a person to switch it and returns when it is done; None where nobody is there.

    Raises:
        UsageError: What the inventory or the model says of it is wrong.
    """
    config: Mapping[str, object] = board.power or model.data["power"]
    if board.monitor is not None:
        config = {"kind": "vm", "monitor": board.monitor}
    elif config.get("kind") == "vm":
        return None  # a virtual board that does not run
    return Power(board.name, config, ask=ask) if config else None


class Bench:
    """An attached board.

    Args:
        board: Which one.
        inventory: The inventory file.
        say: Gets a line for each step that takes a while.
        password: Returns the login password, or None; the model's public default comes first.
        ask: Asks a person to switch it, where the inventory says that only a person can.

    Raises:
        LabctlError: Its line cannot be opened, or its model has mistakes.
    """

    def __init__(
        self,
        board: Board,
        inventory: Path | None,
        *,
        say: Say = lambda text: None,
        password: Callable[[], str | None] = lambda: None,
        ask: Ask | None = None,
    ) -> None:
        self.board = board
        self.name = board.name
        self.model = load_model(board, inventory)
        self.signs = self.model.signs()
        self.power = power_of(board, self.model, ask=ask)
        self.line: LineClient = attach(board, self.model.line, inventory)
        self._say = say
        self._password = lambda: self.model.default_password or password()
        self.profile = self._load_profile()
        self._since = self.line.record.end
        uboot, linux = self.signs.uboot_prompt, self.signs.shell_prompt
        self.uboot = self._session(UBootShell(self.model.line_limit)) if uboot else None
        self.linux = self._session(PosixShell()) if linux else None
        self._detector = Detector(
            self.line, self.signs, self.name, uboot=self.uboot, linux=self.linux
        )
        ways = self.reset_ways()
        # What only a command does needs a prompt, which is what is looked for.
        self._restart = ways.get("signals") if self._asks and "signals" in ways else None
        self._restart = self._restart or ways.get("power") or ways.get("signals")
        self._booter = Booter(
            self._detector,
            self.model.boot_plan(),
            restart=self._restart,
            send_line=self._send_line,
            password=self._password,
            say=say,
            tail=self._tail,
        )

    def _session(self, dialect: PosixShell | UBootShell) -> Session:
        return Session(self.line, dialect, self.signs, self.name, profile=self.profile)

    def _tail(self) -> bytes:
        """Return the last bytes before what the channel reads next: none comes twice."""
        record, end = self.line.record, self.line.offset
        begin = max(record.begin, end - _TAIL_BYTES)
        return b"".join(piece.data for piece in record.pieces(begin, end))

    def _send_line(self, line: str) -> None:
        assert self.uboot is not None
        self.uboot.send_line(line)

    # -- what can be done --------------------------------------------------------------------

    def acquire(self, what: str, *, wait_s: float = 0.0) -> None:
        """Lease the line; see `LineClient.acquire`."""
        self.line.acquire(what, wait_s=wait_s)
        self._since = self.line.follow()

    def state(self) -> Finding:
        """Return where the board is now; needs the lease."""
        return self._booter.find()

    def boot(self, target: str, *, force: bool = False) -> float:
        """Bring the board to ``uboot`` or ``linux``; return the seconds it took.

        Raises:
            UsageError: It has no such target.
            LabctlError: It does not come.
        """
        started = time.monotonic()
        with self._explained():
            self._boot(target, force=force)
        return time.monotonic() - started

    def _boot(self, target: str, *, force: bool) -> None:
        if target not in _BOOT_TARGETS:
            raise UsageError(f"there is no boot target '{target}'", thing=self.name,
                             action=f"use {' or '.join(_BOOT_TARGETS)}")  # fmt: skip
        if target == "uboot":
            self._booter.to_uboot(force=force)
        else:
            self._booter.to_linux(force=force)

    def run(
        self,
        command: str,
        *,
        where: str | None = None,
        timeout: float = 60.0,
        live: Callable[[bytes], None] | None = None,
        idempotent: bool = False,
    ) -> Result:
        """Run ``command`` in the shell that is there, or in that of ``where``.

        Raises:
            LabctlError: No such shell answers, or the answer cannot be had; see `Session.run`.
        """
        with self._explained():
            session = self._find_session(where)
        try:
            return session.run(command, timeout=timeout, live=live, idempotent=idempotent)
        finally:
            self._save_profile()

    def _find_session(self, where: str | None) -> Session:
        by_name = {"uboot": self.uboot, "linux": self.linux}
        finding = self.state()
        if finding.state is State.LOGIN and where != "uboot":
            self._booter.log_in()
            finding = self.state()
        at = {State.UBOOT: "uboot", State.SHELL: "linux"}.get(finding.state)
        session = by_name.get(at or "")
        if session is None or (where is not None and where != at):
            wanted = where or ("linux" if self.linux else "uboot")
            raise LabctlError(
                f"it is in state '{finding.state}' ({finding.evidence or 'silent'})",
                thing=self.name,
                action=f"labctl board boot {self.name} {wanted}",
            )
        return session

    def recover(self, record: Callable[[Rung], None]) -> Finding:
        """Bring a line that does not answer back to a prompt; see `labctl.boards.boot.recover`."""

        def note(rung: Rung) -> None:
            self.line.note("recover", step=rung.name, state=rung.finding.state,
                           seconds=rung.seconds)  # fmt: skip
            record(rung)

        with self._explained():
            return boot.recover(
                self._booter,
                self._detector,
                restart=self._restart,
                record=note,
            )

    def wrong_rate(self) -> RateFinding | None:
        """Tell whether a wrong rate explains why nothing came of the board, or no text.

        Needs the lease. Where nothing that is text came, other rates are tried for some hundred
        milliseconds each; then the line is as it was.

        Raises:
            LabctlError: The line went away, or was taken from us.
        """
        record = self.line.record
        begin = max(self._since, record.begin, record.end - _TAIL_BYTES)
        came = b"".join(piece.data for piece in record.pieces(begin, record.end))
        provoke = HARMLESS if self.model.shell != "none" else b""
        return rates.examine(
            self.line, self.model.line, came, signs=self.signs, provoke=provoke, say=self._say
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Let an error say that the rate of the line is wrong, where it is."""
        try:
            yield
        except (BusyError, UnreachableError, UsageError, BoardPanicError):
            raise
        except LabctlError as error:
            found = None
            with contextlib.suppress(LabctlError):
                found = self.wrong_rate()
            if found is None:
                raise
            raise LabctlError(
                f"{error.cause}; {found.cause()}", thing=self.name, action=found.action(self.name)
            ) from error

    # -- power -------------------------------------------------------------------------------

    def switch(self, action: str) -> None:
        """Switch the board ``on``, ``off``, or ``cycle`` it; journalled.

        Raises:
            LabctlError: It cannot be switched from here, or was not.
        """
        if self.power is None:
            raise LabctlError(
                "its power cannot be switched from here", thing=self.name,
                action="write 'power:' into the inventory",
            )  # fmt: skip
        self.line.note("power", action=action)
        if action == "cycle":
            self.power.cycle()
        else:
            self.power.set(action == "on")

    @property
    def _asks(self) -> bool:
        """Whether a person switches its power."""
        return self.power is not None and self.power.kind == "manual"

    def reset_ways(self) -> dict[str, Callable[[], None]]:
        """Return what resets it, the surest first: ``power``, ``signals``, ``soft``."""
        ways: dict[str, Callable[[], None]] = {}
        if self.power is not None:
            ways["power"] = lambda: self.switch("cycle")
        if self.model.reset_signals():
            ways["signals"] = self._pulse
        if self._asks and "signals" in ways:
            ways["power"] = ways.pop("power")  # a person is asked last
        if self.uboot is not None or self.linux is not None:
            ways["soft"] = self._soft_reset
        return ways

    def reset(self, way: str | None = None) -> ResetResult:
        """Reset it, and prove it by its first words; needs the lease.

        Args:
            way: One of `reset_ways`; None: the surest that needs no prompt.

        Raises:
            UsageError: It has no such way.
            LabctlError: It could not be reset, or did not show its first words.
        """
        ways = self.reset_ways()
        known = ways if way else {key: one for key, one in ways.items() if key != "soft"}
        way = resetting.choose(way, known, self.name)
        plan = self.model.boot_plan()
        # Linux shuts down first.
        patience_s = plan.linux_timeout_s if way == "soft" else plan.uboot_timeout_s
        with self._explained():
            return resetting.reset(
                ways[way], way, self._detector.watcher, self.signs.rom, timeout_s=patience_s
            )

    def _pulse(self) -> None:
        self.line.note("reset", way="signals")
        resetting.pulse(self.line, self.model.reset_signals())

    def _soft_reset(self) -> None:
        """Tell the shell that is there."""
        where = self._find_session(None)
        kind = "uboot" if where is self.uboot else "linux"
        command = self.model.data["reset"][kind] or {"uboot": "reset", "linux": "reboot"}[kind]
        self.line.note("reset", way="soft", command=command)
        self._say(f"{kind}: {command}")
        where.send_line(command)

    # -- what is learned ---------------------------------------------------------------------

    def _profile_path(self) -> Path:
        return place_of(self.board).folder / "sender.json"

    def _load_profile(self) -> SenderProfile:
        try:
            return SenderProfile(**json.loads(self._profile_path().read_text()))
        except (OSError, ValueError, TypeError):
            return SenderProfile(window=self.model.fifo_bytes)

    def _save_profile(self) -> None:
        # It is learned again where it cannot be kept.
        with contextlib.suppress(OSError):
            write_atomic(self._profile_path(), json.dumps(asdict(self.profile)))

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Leave; a lease ends, the owner of the line stays."""
        self.line.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave."""
        self.close()
