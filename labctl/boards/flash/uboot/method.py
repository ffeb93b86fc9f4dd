"""What the methods that work through U-Boot have in common."""

from __future__ import annotations

import contextlib
import time
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import (
    Comparison,
    FlashError,
    Identity,
    Method,
    Progress,
    Route,
    Say,
    Target,
    VerifyError,
)
from labctl.boards.flash.uboot.monitor import Monitor
from labctl.boards.flash.uboot.network_upload import NetworkUpload
from labctl.boards.flash.uboot.serial_upload import SerialUpload
from labctl.boards.flash.uboot.stager import Stager
from labctl.boards.flash.uboot.upload import Upload
from labctl.boards.flash.ymodem import CANCEL
from labctl.boards.keys import Key
from labctl.boards.state import State
from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

_ABORT_PROBE_S = 1.0
_CTRL_C = b"\x03"


@dataclass(frozen=True)
class Piece:
    """Bytes that are written together, and only if they are not there yet."""

    address: int
    data: bytes


class UBootMethod(Method):
    """A method that works through U-Boot; see `labctl.boards.flash.method.Method`.

    A subclass says how pieces are compared and written; what is the same already is not written.
    """

    # The first that works is taken, so the quickest is first.
    ways = ("tftp", "ymodem")
    keys: ClassVar[Mapping[str, Key]] = {
        "load": Key(int, "Address in RAM where there is room for what is to be written."),
        "via": Key(list, "Ways to get bytes there, the first one that works: tftp, ymodem."),
        "rates": Key(list, "Rates to try for YMODEM besides the line's own, baud, as texts."),
        "tftp_folder": Key(str, "Folder that a TFTP server here serves already."),
        "tftp_server": Key(str, "Address of that server, as the board sees it."),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self.monitor = Monitor(bench)
        self._stager: Stager | None = None
        # What the board was last found to hold, until something is written.
        self._seen: tuple[list[Piece], list[int]] | None = None

    def missing(self) -> str | None:
        """Return why it cannot be used here, or None."""
        return None if self.bench.uboot is not None else "its model describes no U-Boot"

    def connect(self) -> Identity:
        """Bring the board to U-Boot's prompt; return what it says of itself."""
        if self.bench.state().state in (State.BUSY, State.SILENT):
            # A transfer that somebody left: its receiver still waits for blocks.
            self.bench.line.write(CANCEL + _CTRL_C)
        self.bench.boot("uboot")
        return self.monitor.identity()

    # -- ways there --------------------------------------------------------------------------

    def _uploads(self) -> list[Upload]:
        rates = [int(one) for one in self.config.get("rates", ())]
        known: dict[str, Upload] = {
            "tftp": NetworkUpload(self.monitor, self.config),
            "ymodem": SerialUpload(self.monitor, rates),
        }
        return [known[name] for name in self.config.get("via", self.ways) if name in known]

    @property
    def stager(self) -> Stager:
        """What puts bytes into RAM."""
        if self._stager is None:
            self._stager = Stager(self.monitor, self._uploads(), self._load_address())
        return self._stager

    def _load_address(self) -> int:
        address = self.config.get("load")
        if address is None:
            address = self.monitor.variables(["loadaddr"]).get("loadaddr")
            address = int(address, 16) if address else None
        if address is None:
            raise FlashError("it is not known where its RAM has room", thing=self.bench.name,
                             action="give 'load' in its model")  # fmt: skip
        return int(address)

    # -- the answers of a method ---------------------------------------------------------------

    @abstractmethod
    def pieces(self, segments: Sequence[Segment]) -> list[Piece]:
        """Return what is written together, ascending."""

    @abstractmethod
    def digests(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the CRC-32 of what the board has where ``pieces`` belong."""

    @abstractmethod
    def write_pieces(self, pieces: Sequence[Piece], progress: Progress, done: int) -> None:
        """Write neighbours.

        Args:
            pieces: They follow each other without gaps and fit `Stager.room`.
            progress: To be told how far it is.
            done: Bytes that were done before.
        """

    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Compare digests computed on the board."""
        return self._compare(self.pieces(segments))

    def _compare(self, pieces: Sequence[Piece]) -> Comparison:
        now = self._digests(pieces)
        wanted = [zlib.crc32(piece.data) for piece in pieces]
        return Comparison(
            same=now == wanted, now=_digest(now), wanted=_digest(wanted), algorithm="crc32"
        )

    def _digests(self, pieces: Sequence[Piece]) -> list[int]:
        """Return `digests`, asked for once as long as nothing is written."""
        if self._seen is None or self._seen[0] != list(pieces):
            self._seen = (list(pieces), self.digests(pieces))
        return self._seen[1]

    def to_write(self, segments: Sequence[Segment]) -> list[Piece]:
        """Return the pieces that are to be written."""
        pieces = self.pieces(segments)
        return pieces if self.rewrite else self.different(pieces)

    def different(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Return those of ``pieces`` that the board does not have."""
        now = self._digests(pieces)
        return [one for one, crc in zip(pieces, now, strict=True) if zlib.crc32(one.data) != crc]

    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how the changed pieces would get there."""
        changed = self.to_write(segments)
        upload = self.stager.upload
        limit = upload.limit()
        payload = sum(len(self.stager.pack(_join(run)).data) for run in self._runs(changed))
        total = sum(len(one.data) for one in changed)
        words = upload.describe()
        if payload < total:
            words += f", compressed {total / payload:.1f} to 1"
        seconds = payload / limit + self.write_seconds(total) if limit else None
        return Route(words, payload, limit, seconds, self.steps(changed))

    def write_seconds(self, size: int) -> float:
        """Return how long writing ``size`` bytes takes on the board itself, about."""
        return 0.0

    @abstractmethod
    def steps(self, changed: Sequence[Piece]) -> list[str]:
        """Return what would be done to write ``changed``, a line each."""

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Write what the board does not have yet."""
        changed = self.to_write(segments)
        self._seen = None
        progress.begin("write", sum(len(one.data) for one in changed))
        done = 0
        for run in self._runs(changed):
            self.write_pieces(run, progress, done)
            done += sum(len(one.data) for one in run)
            progress.reach(done)

    def _runs(self, pieces: Iterable[Piece]) -> list[list[Piece]]:
        """Return ``pieces`` in runs of neighbours that fit into RAM together."""
        runs: list[list[Piece]] = []
        room = self.stager.room
        for one in pieces:
            if len(one.data) > room:
                raise FlashError(
                    f"a block of {len(one.data):,} bytes does not fit its RAM ({room:,} bytes)",
                    thing=self.bench.name, action="give another 'load' in its model",
                )  # fmt: skip
            last = runs[-1] if runs else None
            if (
                last is not None
                and last[-1].address + len(last[-1].data) == one.address
                and sum(len(piece.data) for piece in last) + len(one.data) <= room
            ):
                last.append(one)
            else:
                runs.append([one])
        return runs

    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Compare digests of what the board reads back."""
        pieces = self.pieces(segments)
        self._seen = None
        progress.begin("verify", sum(len(one.data) for one in pieces))
        result = self._compare(pieces)
        if not result.same:
            self._seen = None
            wrong = self.different(pieces)
            raise VerifyError(
                f"what it reads back is not what was written, at {wrong[0].address:#x} first"
                if wrong else "its answers about what it holds differ from one time to the next",
                thing=self.bench.name, action="run it again; if it stays, the chip is worn out",
            )  # fmt: skip
        progress.reach(progress.total)
        return result

    def stage(self, pieces: Sequence[Piece], progress: Progress, done: int) -> int:
        """Put neighbours into RAM; return their address there."""
        data = _join(pieces)
        return self.stager.stage(data, lambda count: progress.reach(done + count))

    def finish(self) -> None:
        """Leave it at U-Boot's prompt."""
        self.close()

    def close(self) -> None:
        """Leave nothing behind here."""
        if self._stager is not None:
            self._stager.close()

    def abort(self) -> None:
        """Come back to U-Boot's prompt; raises nothing."""
        with contextlib.suppress(LabctlError):
            if self._stager is not None:
                self._stager.cancel()
            deadline = time.monotonic() + 2 * _ABORT_PROBE_S
            while self.bench.uboot is not None and time.monotonic() < deadline:
                self.bench.line.write(_CTRL_C)
                if self.bench.uboot.probe(_ABORT_PROBE_S):
                    break
        self.close()

    def image_bytes(self, image: Image) -> tuple[Segment, ...]:
        """Return the image as one segment at 0, for places that have no addresses."""
        return image.at(0)


def _join(pieces: Iterable[Piece]) -> bytes:
    return b"".join(one.data for one in pieces)


def _digest(sums: Sequence[int]) -> str:
    """Return one digest for several."""
    if len(sums) == 1:
        return f"{sums[0]:08x}"
    return f"{zlib.crc32(b''.join(one.to_bytes(4, 'big') for one in sums)):08x}"
