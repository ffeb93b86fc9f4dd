"""AVR boards with a serial boot loader, through avrdude.

avrdude opens the port itself, so the line is lent to it. It resets the board (DTR), finds it by its
signature, and writes; what is there afterwards is read back into a file and compared here, since
avrdude's own "verified" is about what it read, with trailing 0xff left out.

Sources: avrdude(1), version 7.1; Atmel AVR061, STK500 Communication Protocol (what optiboot speaks:
the signature; it cannot erase the chip, hence -D).
"""

from __future__ import annotations

import hashlib
import re
import time
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
    OtherBoardError,
    Progress,
    Route,
    Say,
    Target,
    VerifyError,
)
from labctl.boards.flash.regions import region_of
from labctl.boards.flash.runner import Outcome
from labctl.boards.keys import Key
from labctl.errors import UnreachableError
from labctl.transport.lines.base import UnsupportedError

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

PACKAGE = "avrdude"
_ERROR = re.compile(r"(?i)\b(error|failed|cannot|invalid|mismatch|unable)\b")
# On a pseudo-terminal, and on some adapters, there is no DTR; whether the board was reset shows.
_NO_ERROR = re.compile(r'ioctl\("TIOCM')
_SIGNATURE = re.compile(r"device signature = 0x([0-9a-f]{6})", re.IGNORECASE)
_OTHER_PART = re.compile(r"(?i)expected signature")
# The last two: answers came later than avrdude waits for, and it takes them for the next ones.
_NO_ANSWER = re.compile(r"not in sync|not responding|protocol expects \w+ byte")
_DIFFERENT = re.compile(r"(?i)verification (error|mismatch)|content mismatch|mismatch at")
_VERIFIED = re.compile(r"(\d+) bytes? of flash verified")
_WRITTEN = r"bytes? of flash written"
_BAR = re.compile(r"^(Reading|Writing) \| (#*)")
_BAR_WIDTH = 50
# A silent board costs avrdude 5 s a time. One that is heard too late (the computer is busy, and the
# boot loader waits for a second only) costs less, and may be heard the next time.
_TRIES = 3
_TRY_S = 15.0
# Reset, the boot loader's greeting by light, the first answer.
_START_S = 20.0
# A boot loader that writes and answers page by page makes about half of the line's rate.
_SLOWEST = 0.2


class Avr(Method):
    """See the module."""

    name = "avrdude"
    keys: ClassVar[Mapping[str, Key]] = {
        "part": Key(str, "Processor, as avrdude calls it.", needed=True, pattern=r"[\w-]+"),
        "programmer": Key(
            str, "What avrdude speaks with; arduino if not given.", pattern=r"[\w-]+"
        ),
        "baud": Key(int, "Rate of the boot loader, baud.", needed=True, least=300),
        "region": Key(str, "Memory that is written, a name below 'memory:'; flash if not given."),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self._region = region_of(bench.model, str(self.config.get("region", "flash")))
        self._baud = int(self.config["baud"])
        self._segments: tuple[Segment, ...] = ()
        self._same = False

    def missing(self) -> str | None:
        """Return why it cannot be used here, or None."""
        return None if runner.find("avrdude") else f"install with: apt-get install {PACKAGE}"

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        self._segments = image.at(self._region.base)
        self._region.check(self._segments, thing=str(image.path))
        return self._segments

    def connect(self) -> Identity:
        """Let the boot loader say its chip's signature, and compare what is there on the way."""
        with handover.folder() as folder:
            outcome = self._avrdude(*self._image(folder, "v"), size=self._size())
        signature = _SIGNATURE.search(outcome.text)
        if _OTHER_PART.search(outcome.text) or signature is None:
            self._refuse(outcome, signature[1] if signature else "")
            raise UnreachableError(
                outcome.cause(), thing=self.bench.name,
                action="look whether it has power and its boot loader",
            )  # fmt: skip
        verified = _VERIFIED.search(outcome.text)
        # All of it, and not what avrdude took for all of it.
        self._same = outcome.ok and verified is not None and int(verified[1]) == self._size()
        if not verified and not _DIFFERENT.search(outcome.text):
            runner.require_ok(outcome, thing=self.bench.name, says=_VERIFIED.pattern)
        part = str(self.config["part"])
        return Identity({"signature": f"0x{signature[1]}", "chip": part}, architecture="avr",
                        chip=part)  # fmt: skip

    def _refuse(self, outcome: Outcome, signature: str) -> None:
        if _OTHER_PART.search(outcome.text):
            raise OtherBoardError(
                f"its chip is no {self.config['part']}: {outcome.cause()}"
                + (f" (signature 0x{signature})" if signature else ""),
                thing=self.bench.name,
                action="look whether cables were swapped, or correct its model in the inventory",
            )

    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Return what `connect` found."""
        wanted = _digest(segments)
        return Comparison(self._same, wanted if self._same else "", wanted, "sha256")

    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how it gets there."""
        size = sum(len(one.data) for one in segments)
        limit = self._baud / 10
        whole = self._region.size
        return Route(
            f"{self.config.get('programmer', 'arduino')} at {self._baud} baud, by avrdude",
            size,
            limit=limit,
            seconds=4.0 + 2 * size / limit + 1.1 * whole / limit,
            steps=(f"write {size:,} bytes, page by page", f"read all {whole:,} bytes back"),
        )

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Write the pages."""
        size = sum(len(one.data) for one in segments)
        progress.begin("write", size)
        with handover.folder() as folder:
            # -V: it is read back afterwards, and not by what wrote it.
            outcome = self._avrdude("-V", *self._image(folder, "w"), size=size, progress=progress)
        runner.require_ok(
            outcome, thing=self.bench.name, says=_WRITTEN, action="run it again: it starts afresh"
        )
        progress.reach(size)

    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Read the whole flash into a file, and compare it here."""
        size = self._region.size
        progress.begin("verify", size)
        with handover.folder() as folder:
            back = folder / "back.bin"
            outcome = self._avrdude("-U", f"flash:r:{back}:r", size=size, progress=progress)
            runner.require_ok(outcome, thing=self.bench.name, action="run it again")
            read = back.read_bytes() if back.exists() else b""
        flash = read.ljust(size, bytes([ERASED]))  # trailing 0xff are left out
        for one in segments:
            begin = one.address - self._region.base
            there = flash[begin : begin + len(one.data)]
            if there != one.data:
                at = next(
                    i for i in range(len(one.data)) if there[i : i + 1] != one.data[i : i + 1]
                )
                raise VerifyError(
                    f"it reads back otherwise from {one.address + at:#x} on",
                    thing=self.bench.name, action="run it again",
                )  # fmt: skip
        progress.reach(size)
        digest = _digest(segments)
        return Comparison(True, digest, digest, "sha256")

    def finish(self) -> None:
        """Nothing: the boot loader starts the program when avrdude has left."""

    def abort(self) -> None:
        """Nothing: avrdude has been ended and the line is back; the board restarts by itself."""

    # -- avrdude -----------------------------------------------------------------------------

    def command(self, device: Path, *words: str) -> list[str]:
        """Return the command line that does ``words`` on the port ``device``."""
        return [
            "avrdude", "-p", str(self.config["part"]),
            "-c", str(self.config.get("programmer", "arduino")),
            "-P", str(device), "-b", str(self._baud), "-D", *words,
        ]  # fmt: skip

    def _image(self, folder: Path, what: str) -> list[str]:
        file = folder / "image.hex"
        file.write_text(handover.intel_hex(self._segments))
        return ["-U", f"flash:{what}:{file}:i"]

    def _size(self) -> int:
        return sum(len(one.data) for one in self._segments)

    def _avrdude(self, *words: str, size: int, progress: Progress | None = None) -> Outcome:
        """Run avrdude on the port; again where no answer came, for a reset may be missed."""
        started = time.monotonic()
        tries = 0
        while tries < _TRIES or time.monotonic() - started < _TRY_S:
            tries += 1
            if tries > 1:
                self.say("the boot loader does not answer; trying again")
            try:
                return self._once(words, size, progress)
            except _NoAnswerError:
                continue
        raise UnreachableError(
            f"its boot loader does not answer at {self._baud} baud", thing=self.bench.name,
            action="look whether it has power; another boot loader may have another rate",
        )  # fmt: skip

    def _once(self, words: Sequence[str], size: int, progress: Progress | None) -> Outcome:
        def listen(line: str) -> None:
            # avrdude itself would try for a minute; to begin anew resets the board as well.
            if _NO_ANSWER.search(line):
                raise _NoAnswerError
            bar = _BAR.match(line)
            if bar and progress is not None:
                progress.reach(progress.total * len(bar[2]) // _BAR_WIDTH)

        with self.bench.line.lend("avrdude") as lent:
            if not lent.direct:
                self._reset()
            outcome = runner.run(
                self.command(lent.device, *words),
                deadline_s=_START_S + 2 * size / (self._baud / 10 * _SLOWEST),
                error=_ERROR, ignore=_NO_ERROR, listen=listen, watch=lent.check,
            )  # fmt: skip
        return outcome

    def _reset(self) -> None:
        """Reset the board over a line whose DTR avrdude does not reach."""
        try:
            for step in self.bench.model.reset_signals(loader=True):
                self.bench.line.set_signals(dtr=step.dtr, rts=step.rts)
                time.sleep(step.seconds)
        except UnsupportedError:
            self.say("this line has no DTR: press the board's reset button now")


class _NoAnswerError(FlashError):
    def __init__(self) -> None:
        super().__init__("the boot loader does not answer")


def _digest(segments: Sequence[Segment]) -> str:
    total = hashlib.sha256()
    for one in segments:
        total.update(one.address.to_bytes(8, "little") + one.data)
    return total.hexdigest()
