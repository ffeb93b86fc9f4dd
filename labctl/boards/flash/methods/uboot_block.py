"""A block device of a board (card, eMMC, virtual disk) through U-Boot.

The device is compared piece by piece, by reading it into RAM and its CRC-32 there; only pieces
that differ are sent and written, and each is read back.

Source: U-Boot's doc/usage/cmd/mmc.rst and disk/part.c, cmd/blk_common.c (``dev``, ``read``,
``write`` are the same for all kinds of device).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import (
    FlashError,
    Identity,
    Progress,
    RefusedError,
    Say,
    Target,
    VerifyError,
)
from labctl.boards.flash.uboot.method import Piece, UBootMethod
from labctl.boards.keys import Key

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

_PIECE = 1 << 20
_CAPACITY = re.compile(rb"Capacity: [^(]*\((\d+) x (\d+)\)")
_BLOCK = 512
# bytes/s of a slow card, reading and writing.
_SLOWEST = 200_000
_USUAL = 5_000_000


class UBootBlock(UBootMethod):
    """See the module."""

    name = "uboot-block"
    keys: ClassVar[Mapping[str, Key]] = {
        **UBootMethod.keys,
        "interface": Key(str, "U-Boot's command for it: mmc, virtio, usb, scsi.", needed=True),
        "device": Key(int, "Its number there; 0 if not given."),
        "prepare": Key(str, "Command that finds it first, such as 'virtio scan'."),
        "offset": Key(int, "Byte on it where the image begins; a multiple of 512."),
        "size": Key(int, "Bytes that may be written; as much as there is if not given."),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self._command = str(self.config["interface"])
        self._offset = int(self.config.get("offset", 0))
        self._capacity: int | None = None

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        if self._offset % _BLOCK:
            raise RefusedError(f"'offset' {self._offset} is no multiple of {_BLOCK}",
                               thing=self.bench.name, action="correct its model")  # fmt: skip
        segments = tuple(
            Segment(one.address + self._offset, one.data) for one in self.image_bytes(image)
        )
        size = self.config.get("size")
        if size is not None and segments[-1].end > self._offset + int(size):
            raise RefusedError(
                f"it has {image.size:,} bytes, and {int(size):,} may be written",
                thing=self.bench.name, action="take a smaller image",
            )  # fmt: skip
        return segments

    def connect(self) -> Identity:
        """Bring the board to U-Boot's prompt and find the device."""
        identity = super().connect()
        if prepare := self.config.get("prepare"):
            self.monitor.run(str(prepare))
        text = self.monitor.run(f"{self._command} dev {int(self.config.get('device', 0))}")
        if match := _CAPACITY.search(text):
            if int(match[2]) != _BLOCK:
                raise RefusedError(f"its blocks have {int(match[2])} bytes, not {_BLOCK}",
                                   thing=self.bench.name)  # fmt: skip
            self._capacity = int(match[1]) * _BLOCK
        return identity

    def pieces(self, segments: Sequence[Segment]) -> list[Piece]:
        """Return pieces of at most 1 MiB; the last one is filled up from what is on the device."""
        pieces = []
        for one in segments:
            if self._capacity is not None and one.end > self._capacity:
                raise RefusedError(
                    f"it reaches up to byte {one.end:,}, and the device has {self._capacity:,}",
                    thing=self.bench.name, action="take a smaller image",
                )  # fmt: skip
            for begin in range(0, len(one.data), _PIECE):
                pieces.append(Piece(one.address + begin, one.data[begin : begin + _PIECE]))
        return pieces

    def digests(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the digests of the device as it is."""
        sums: list[int] = []
        for run in self._runs(pieces):
            base = self._read(run, self.stager.scratch)
            sums += self.monitor.crc32s(
                [(base + one.address - run[0].address, len(one.data)) for one in run]
            )
        return sums

    def _read(self, run: Sequence[Piece], address: int) -> int:
        first, count = _extent(run)
        self.monitor.run(
            f"{self._command} read {address:#x} {first:#x} {count:#x}",
            timeout=10.0 + count * _BLOCK / _SLOWEST,
        )
        return address

    def steps(self, changed: Sequence[Piece]) -> list[str]:
        """Return what would be done."""
        total = sum(len(one.data) for one in changed)
        device = f"{self._command} {int(self.config.get('device', 0))}"
        return [
            f"write {total:,} bytes in {len(list(_neighbours(changed)))} places to {device}",
            "read them back and compare the CRC-32, computed on the board",
        ] if changed else []  # fmt: skip

    def write_seconds(self, size: int) -> float:
        """Return how long writing takes."""
        return 2 * size / _USUAL

    def write_pieces(self, pieces: Sequence[Piece], progress: Progress, done: int) -> None:
        """Write neighbouring pieces."""
        first, count = _extent(pieces)
        size = sum(len(one.data) for one in pieces)
        staged = self.stage(pieces, progress, done)
        if rest := size % _BLOCK:
            # What is behind the image in its last block stays: it is read into its place first.
            tail = staged + size - rest
            self.monitor.run(
                f"{self._command} read {self.stager.scratch:#x} {first + count - 1:#x} 1"
            )
            source = self.stager.scratch + rest
            self.monitor.run(f"cp.b {source:#x} {tail + rest:#x} {_BLOCK - rest:#x}")
        self.monitor.run(
            f"{self._command} write {staged:#x} {first:#x} {count:#x}",
            timeout=10.0 + count * _BLOCK / _SLOWEST,
        )
        base = self._read(pieces, self.stager.scratch)
        wanted = zlib.crc32(b"".join(one.data for one in pieces))
        if self.monitor.crc32(base, size) != wanted:
            raise VerifyError(
                f"it does not read back what was written at byte {pieces[0].address:,}",
                thing=self.bench.name, action="the card may be worn out or write-protected",
            )  # fmt: skip


def _extent(run: Sequence[Piece]) -> tuple[int, int]:
    """Return first block and number of blocks of neighbours."""
    begin, end = run[0].address, run[-1].address + len(run[-1].data)
    if begin % _BLOCK:
        raise FlashError(f"byte {begin} is not the beginning of a block")
    return begin // _BLOCK, -(-(end - begin) // _BLOCK)


def _neighbours(pieces: Sequence[Piece]) -> Iterator[int]:
    """Yield the address of each piece that follows no other."""
    end = None
    for one in pieces:
        if one.address != end:
            yield one.address
        end = one.address + len(one.data)
