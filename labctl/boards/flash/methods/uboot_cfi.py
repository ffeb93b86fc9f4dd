"""Parallel NOR flash (CFI) through U-Boot: erase, copy from RAM, compare.

Flash is compared erase block by erase block, and only blocks that differ are sent and written. A
block is erased as a whole; what an image leaves free in its last block is left erased.

Source: U-Boot's doc/usage/cmd/{cp,erase,protect}.rst and drivers/mtd/cfi_flash.c; JEDEC JESD68.01
(CFI); Intel's command set, "Word Program" (0x40).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import Progress, RefusedError, Say, Target, VerifyError
from labctl.boards.flash.regions import region_of
from labctl.boards.flash.uboot.method import Piece, UBootMethod
from labctl.boards.keys import Key

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

_TRIES = 2
# NOR flash: about 1 s to erase a block, and 100 kB/s to write, at worst (data sheets: 4 s a block).
_ERASE_S = 5.0
_SLOWEST = 50_000
_USUAL = 500_000
# Word by word, by U-Boot's shell: so much was seen in an emulator.
_WORDS = 10_000
_WORDS_SLOWEST = 1_000
_UNROLL = 2


class UBootCfi(UBootMethod):
    """See the module."""

    name = "uboot-cfi"
    keys: ClassVar[Mapping[str, Key]] = {
        **UBootMethod.keys,
        "region": Key(str, "The flash, a name below 'memory:'.", needed=True),
        "offset": Key(int, "Where an image without addresses begins, from the region's base."),
        "write": Key(
            str,
            "How it is written: 'buffer', U-Boot's own cp; 'words', word by word by its shell, "
            "for emulators whose write buffer does not take U-Boot's way to use it.",
            choices=("buffer", "words"),
        ),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self.region = region_of(bench.model, str(self.config["region"]))
        self._words = self.config.get("write") == "words"

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        if not self.region.blocks:
            raise RefusedError(f"'{self.region.name}' has no erase blocks in the model",
                               thing=self.bench.name,
                               action="give 'erase_block' or 'sectors' there")  # fmt: skip
        segments = image.at(self.region.base + int(self.config.get("offset", 0)))
        self.region.check(segments, thing=self.bench.name)
        return segments

    def pieces(self, segments: Sequence[Segment]) -> list[Piece]:
        """Return the erase blocks."""
        return [Piece(one.address, one.data) for one in self.region.whole_blocks(segments)]

    def digests(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the digests of the blocks as they are."""
        return self.monitor.crc32s([(one.address, len(one.data)) for one in pieces])

    def steps(self, changed: Sequence[Piece]) -> list[str]:
        """Return what would be done."""
        if not changed:
            return []
        total = sum(len(one.data) for one in changed)
        first, last = changed[0].address, changed[-1].address + len(changed[-1].data) - 1
        return [
            f"erase {len(changed)} blocks ({total:,} bytes) from {first:#x} to {last:#x}",
            f"write them {'word by word' if self._words else 'by cp'}",
            "compare the CRC-32 of each block, computed on the board",
        ]

    def write_seconds(self, size: int) -> float:
        """Return how long writing takes."""
        return size / (_WORDS if self._words else _USUAL)

    def write_pieces(self, pieces: Sequence[Piece], progress: Progress, done: int) -> None:
        """Write neighbouring blocks."""
        staged = self.stage(pieces, progress, done)
        for one in pieces:
            source = staged + one.address - pieces[0].address
            for attempt in range(_TRIES):
                self._write_block(source, one)
                if self.monitor.matches(one.address, one.data):
                    break
                if attempt == _TRIES - 1:
                    raise VerifyError(
                        f"the block at {one.address:#x} does not hold what was written to it",
                        thing=self.bench.name, action="the chip may be worn out or protected",
                    )  # fmt: skip

    def _write_block(self, source: int, block: Piece) -> None:
        begin, size = block.address, len(block.data)
        if self.monitor.has("protect"):
            self.monitor.run(f"protect off {begin:#x} +{size:#x}", timeout=_ERASE_S)
        blocks = 1 + size // (1 << 16)
        self.monitor.run(f"erase {begin:#x} +{size:#x}", timeout=10.0 + _ERASE_S * blocks)
        # What is erased already needs no writing.
        used = len(block.data.rstrip(b"\xff"))
        used += -used % 4
        if not used:
            return
        if self._words:
            self._write_words(source, begin, used)
        else:
            self.monitor.run(
                f"cp.b {source:#x} {begin:#x} {used:#x}", timeout=10.0 + used / _SLOWEST
            )

    def _write_words(self, source: int, begin: int, size: int) -> None:
        """Program 32 bits at a time: command 0x40, then the word; 0xff goes back to reading."""
        step = (
            "mw.l $labctl_d 40; setexpr.l labctl_v *$labctl_s; mw.l $labctl_d $labctl_v; "
            "setexpr labctl_s $labctl_s + 4; setexpr labctl_d $labctl_d + 4; "
        )
        # Two words at a time where they come out even: the loop's own test costs as much as a word.
        body = step * (_UNROLL if size % (4 * _UNROLL) == 0 else 1)
        self.monitor.run(f"setenv labctl_s {source:x}; setenv labctl_d {begin:x}")
        self.monitor.run(
            f"while itest $labctl_d -lt {begin + size:x}; do {body}done; mw.l {begin:x} ff",
            timeout=30.0 + size / _WORDS_SLOWEST,
        )
        self.monitor.run("setenv labctl_s; setenv labctl_d; setenv labctl_v")
