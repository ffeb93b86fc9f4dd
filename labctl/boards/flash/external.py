"""What all methods have in common that leave the work to a program of their own.

Such a method says four command lines (who is there, write, read back, let it run) and what its
program's lines mean; the rest is here. What is on the board is compared here, byte by byte with
what was read back, and never taken from a program's word that it is right.

Which adapter: with two boards on one computer most programs take the first that they find. So the
USB serial number is always named: that of ``identity: {probe: ...}`` in the inventory, or that of
the adapter whose serial port is the board's line (an ST-LINK or an FT2232 is both).
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labctl.boards.flash import handover, runner
from labctl.boards.flash.image import ERASED, Image, Segment
from labctl.boards.flash.method import (
    Comparison,
    FlashError,
    Identity,
    Method,
    Progress,
    RefusedError,
    Route,
    Say,
    Target,
    VerifyError,
)
from labctl.boards.flash.regions import region_of
from labctl.boards.flash.runner import Outcome
from labctl.boards.keys import Key
from labctl.errors import LabctlError, UnreachableError
from labctl.transport.lines import udev

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

ERROR = re.compile(r"(?i)\b(error|failed|failure|fatal|abort(ed)?|unable to|cannot|can't)\b")
PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")
_START_S = 30.0


class External(Method):
    """A method that runs a program.

    Attributes:
        program: The program.
        package: How it is installed, in words.
        error: What its lines of errors look like.
        ignore: What looks like one and is none, or None.
        absent: What it says where there is no board or adapter.
        present: What it says where there is one (a regular expression); empty: exit code 0 will do.
        percent: What its lines of progress look like; group 1 is the percentage.
        done: What it says when it has written (a regular expression); empty: nothing.
        slowest: Bytes per second that it surely does.
    """

    program: ClassVar[str]
    package: ClassVar[str]
    error: ClassVar[re.Pattern[str]] = ERROR
    ignore: ClassVar[re.Pattern[str] | None] = None
    absent: ClassVar[re.Pattern[str]]
    present: ClassVar[str] = ""
    percent: ClassVar[re.Pattern[str]] = PERCENT
    done: ClassVar[str] = ""
    slowest: ClassVar[int] = 2000
    uses_line = False
    keys: ClassVar[Mapping[str, Key]] = {
        "region": Key(str, "Memory that is written, a name below 'memory:'; flash if not given."),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self.region = region_of(bench.model, str(self.config.get("region", "flash")))
        self.serial = ""

    # -- what a program is told --------------------------------------------------------------

    @abstractmethod
    def look(self) -> list[str]:
        """Return the command that shows that the board is there, and changes nothing."""

    @abstractmethod
    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes ``file``, which holds ``segment``."""

    def get(self, file: Path, segment: Segment) -> list[str] | None:
        """Return the command that reads what ``segment`` covers into ``file``, or None."""
        return None

    def go(self) -> list[str] | None:
        """Return the command that lets the new program run; None: it does so by itself."""
        return None

    def identity(self, outcome: Outcome) -> Identity:
        """Return what the board said of itself in the answer to `look`."""
        return Identity({"probe": self.serial}, frozenset({"probe"}))

    # -- the method --------------------------------------------------------------------------

    def missing(self) -> str | None:
        """Return why it cannot be used here, or None."""
        return None if runner.find(self.program) else f"{self.program} is missing: {self.package}"

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        segments = image.at(int(self.config.get("address", self.region.base)))
        self.region.check(segments, thing=str(image.path))
        return segments

    def connect(self) -> Identity:
        """Find the board, by its adapter's serial number."""
        self.serial = adapter_serial(self.bench)
        outcome = self.run(self.look())
        if outcome.ok and not re.search(self.present, outcome.text):
            raise self._not_there("it lists no such board")
        if outcome.ok:
            return self.identity(outcome)
        raise LabctlError(outcome.cause(), thing=self.bench.name)

    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Compare what is there, by reading it."""
        wanted = digest(segments)
        now = self._read_back(segments, None)
        if now is None:
            return Comparison(None, "", wanted, "sha256")
        found = digest(now)
        return Comparison(found == wanted, found, wanted, "sha256")

    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how it gets there."""
        size = sum(len(one.data) for one in segments)
        steps = [f"write {len(one.data):,} bytes at {one.address:#x}" for one in segments]
        if self.get(Path(), segments[0]) is not None:
            steps.append("read it back and compare")
        else:
            steps.append("not read back: this program cannot")
        adapter = f", adapter {self.serial}" if self.serial else ""
        return Route(f"{self.program}{adapter}", size, steps=steps)

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Let the program write, one run for each segment."""
        progress.begin("write", sum(len(one.data) for one in segments))
        before = 0
        with handover.folder() as folder:
            for one in segments:
                file = folder / "image.bin"
                file.write_bytes(one.data)
                outcome = self.run(self.put(file, one), size=len(one.data), progress=progress,
                                   before=before)  # fmt: skip
                runner.require_ok(
                    outcome, thing=self.bench.name, says=self.done,
                    action="run it again: it starts afresh",
                )  # fmt: skip
                before += len(one.data)
                progress.reach(before)

    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Read it back and compare it here; where the program cannot read, nothing is claimed."""
        wanted = digest(segments)
        progress.begin("verify", sum(len(one.data) for one in segments))
        now = self._read_back(segments, progress)
        if now is None:
            return Comparison(None, "", wanted, "sha256")
        for there, one in zip(now, segments, strict=True):
            if there.data != one.data:
                at = next(i for i, byte in enumerate(one.data) if there.data[i] != byte)
                raise VerifyError(
                    f"it reads back otherwise from {one.address + at:#x} on",
                    thing=self.bench.name, action="run it again",
                )  # fmt: skip
        return Comparison(True, wanted, wanted, "sha256")

    def finish(self) -> None:
        """Let the new program run."""
        if command := self.go():
            runner.require_ok(self.run(command), thing=self.bench.name)

    def abort(self) -> None:
        """Nothing: the program and its children have been ended."""

    def _read_back(
        self, segments: Sequence[Segment], progress: Progress | None
    ) -> list[Segment] | None:
        found: list[Segment] = []
        with handover.folder() as folder:
            for one in segments:
                file = folder / "back.bin"
                command = self.get(file, one)
                if command is None:
                    return None
                outcome = self.run(command, size=len(one.data), progress=progress,
                                   before=sum(len(done.data) for done in found))  # fmt: skip
                runner.require_ok(outcome, thing=self.bench.name)
                read = file.read_bytes() if file.exists() else b""
                if len(read) < len(one.data) and not read:
                    raise FlashError(f"{self.program} read nothing back", thing=self.bench.name)
                whole = read[: len(one.data)].ljust(len(one.data), bytes([ERASED]))
                found.append(Segment(one.address, whole))
                file.unlink(missing_ok=True)  # some programs refuse to overwrite it
        return found

    def run(
        self, command: Sequence[str], *, size: int = 0, progress: Progress | None = None,
        before: int = 0,
    ) -> Outcome:  # fmt: skip
        """Run the program; where it waits for a board that is not there, it is ended at once.

        Raises:
            UnreachableError: There is no such board.
        """

        def listen(line: str) -> None:
            if self.absent.search(line):
                raise self._not_there(line.strip())
            found = self.percent.search(line)
            if progress is not None and found:
                progress.reach(before + size * min(int(found[1]), 100) // 100)

        return runner.run(
            command, deadline_s=_START_S + size / self.slowest, error=self.error,
            ignore=self.ignore, listen=listen,
        )  # fmt: skip

    def _not_there(self, said: str) -> UnreachableError:
        return UnreachableError(
            f"{self.program} does not find it: {said}", thing=self.bench.name,
            action=f"plug in {self.serial}, and look whether you may use it (lsusb, udev rules)",
        )  # fmt: skip


def adapter_serial(bench: Bench) -> str:
    """Return the USB serial number of the adapter of a board.

    Raises:
        RefusedError: It is not known, so that the wrong one of two boards could be written.
    """
    told = bench.board.identity.get("probe")
    if told:
        return str(told)
    device = Path(bench.board.line or "/").resolve()
    for port in udev.serial_ports():
        serial = port.properties.get("ID_SERIAL_SHORT")
        if serial and port.device == device and bench.board.host is None:
            return serial
    raise RefusedError(
        "which adapter is its own is not known, and another one may be plugged in",
        thing=bench.name,
        action="write 'identity: {probe: SERIAL}' into the inventory ('lsusb -v' shows iSerial)",
    )  # fmt: skip


def digest(segments: Sequence[Segment]) -> str:
    """Return the SHA-256 of addresses and bytes."""
    total = hashlib.sha256()
    for one in segments:
        total.update(one.address.to_bytes(8, "little") + one.data)
    return total.hexdigest()
