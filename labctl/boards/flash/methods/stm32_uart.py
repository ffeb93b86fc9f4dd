"""An STM32 by the boot loader in its ROM, over a UART (AN3155).

The ROM has no digest of memory (Get Checksum exists on few chips, and differs), so what is there
is compared by reading it, up to the first difference. It erases only the sectors that it writes.
The block with the vector table is written last: a chip that was cut off in the middle has none,
and does not run half a program.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from labctl.boards.flash.image import ERASED, Image, Segment, cut
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
from labctl.boards.flash.stm32.chips import UID_BYTES, chip_facts
from labctl.boards.flash.stm32.link import Link
from labctl.boards.flash.stm32.loader import (
    BITS_PER_BYTE,
    BLOCK,
    LinkError,
    Loader,
    RefusedByChipError,
)
from labctl.boards.keys import Key

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

# AN3155: at least 1200, at most 115200 baud are promised.
_BASE = 115200
# Bytes on the line for a block, there and back, besides its data: Write Memory, Read Memory.
_WRITE_EXTRA, _READ_EXTRA = 12, 12
# A sector of 128 KiB takes 1 s, pages of 1 KiB 30 ms each (data sheets, typical).
_ERASE_S_PER_BYTE, _ERASE_S = 7e-6, 0.03
_TRIES = 5
# Blocks that are written or read without asking in between.
_BATCH = 8
_SECTOR_TRIES = 4


class Stm32Uart(Method):
    """See the module."""

    name = "stm32-uart"
    keys: ClassVar[Mapping[str, Key]] = {
        "region": Key(str, "The flash, a name below 'memory:'; 'flash' if not given."),
        "offset": Key(int, "Where an image without addresses begins, from the region's base."),
        "baud": Key(int, "Rate that surely works, baud; 115200 if not given.", least=1200),
        "rates": Key(list, "Rates to try above it, baud, as texts."),
        "parity": Key(
            str, "What the ROM talks with: even on all of them.", choices=("even", "none")
        ),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self.region = region_of(bench.model, str(self.config.get("region", "flash")))
        self._sectors = list(self.region.erase_blocks())
        self.link = Link(
            bench,
            base=int(self.config.get("baud", _BASE)),
            rates=[int(one) for one in self.config.get("rates", ())],
            parity=self.config.get("parity", "even"),
            readable=self.region.base,
        )

    # -- before anything is touched ----------------------------------------------------------

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        if not self._sectors:
            raise RefusedError(f"'{self.region.name}' has no sectors in the model",
                               thing=self.bench.name,
                               action="give 'erase_block' or 'sectors' there")  # fmt: skip
        segments = image.at(self.region.base + int(self.config.get("offset", 0)))
        self.region.check(segments, thing=self.bench.name)
        for one in segments:
            if one.address % 4:
                raise RefusedError(
                    f"a part begins at {one.address:#x}; the ROM writes whole words",
                    thing=self.bench.name, action="link it to a multiple of 4",
                )  # fmt: skip
        return segments

    def connect(self) -> Identity:
        """Bring the board into its ROM; return what it says of itself."""
        self.link.enter()
        product = self.link.retry(lambda loader: loader.product())
        facts = {
            "pid": f"{product:#05x}",
            "loader": f"{self.link.loader.protocol >> 4}.{self.link.loader.protocol & 15}",
        }
        known = chip_facts(product)
        if known is None:
            return Identity(facts=facts, architecture="arm")
        facts["chip"] = known.about
        size = known.uid + UID_BYTES - known.block
        try:
            block = self._read_once(known.block, BLOCK if size > UID_BYTES else size)
        except RefusedByChipError:
            # Some ROMs do not let it be read, and no ROM lets anything be read of a protected chip.
            return Identity(facts=facts, architecture="arm", chip=known.chip)
        uid = block[known.uid - known.block :][:UID_BYTES]
        facts["uid"] = uid.hex()
        return Identity(facts, frozenset({"uid"}), architecture="arm", chip=known.chip)

    def _read_once(self, address: int, size: int) -> bytes:
        """Read, repairing what the line does, but believing the chip when it refuses twice."""
        for last in (False, True):
            try:
                return self.link.loader.read(address, size)
            except RefusedByChipError as error:
                self.link.loader.resync()
                if last:
                    raise
                del error
            except LinkError as error:
                self.link.repair(error)
        return self.link.retry(lambda loader: loader.read(address, size))

    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Read what is there up to the first difference."""
        wanted = _digest(b"".join(one.data for one in segments))
        for block in cut(segments, BLOCK):
            try:
                found = self._read_once(block.address, len(block.data))
                if found != block.data and self._read_once(block.address, len(found)) == found:
                    return Comparison(False, "", wanted, "bytes")
            except RefusedByChipError:
                raise self._protected() from None
        return Comparison(True, wanted, wanted, "bytes")

    def _protected(self) -> RefusedError:
        return RefusedError(
            "its flash is protected from reading, and freeing it erases all of it",
            thing=self.bench.name,
            action="if that is meant: stm32flash -k on its line, then run it again",
        )

    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how it gets there."""
        sectors = self._touched(segments)
        blocks = list(cut(segments, BLOCK))
        payload = sum(len(one.data) for one in blocks)
        byte_s = BITS_PER_BYTE / self.link.rate
        wire = payload + len(blocks) * _WRITE_EXTRA
        back = payload + len(blocks) * _READ_EXTRA
        erasing = sum(_ERASE_S + size * _ERASE_S_PER_BYTE for _, _, size in sectors)
        total = sum(size for _, _, size in sectors)
        return Route(
            f"AN3155 at {self.link.rate} baud", payload,
            limit=BLOCK / ((BLOCK + _WRITE_EXTRA) * byte_s),
            seconds=(wire + back) * byte_s + erasing,
            steps=(
                f"erase {len(sectors)} sectors ({total:,} bytes) from {sectors[0][1]:#x}",
                f"write {payload:,} bytes, the first block last",
                "read them back and compare",
            ),
        )  # fmt: skip

    def _touched(self, segments: Sequence[Segment]) -> list[tuple[int, int, int]]:
        """Return number, address and size of each sector that holds some of ``segments``."""
        return [
            (number, address, size)
            for number, (address, size) in enumerate(self._sectors)
            if any(one.address < address + size and address < one.end for one in segments)
        ]

    # -- writing -----------------------------------------------------------------------------

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Erase the sectors, then write them, the first block last."""
        sectors = self._touched(segments)
        blocks = list(cut(segments, BLOCK))
        progress.begin("erase", sum(size for _, _, size in sectors))
        done = 0
        for number, _, size in sectors:
            self._erase(number, size)
            done += size
            progress.reach(done)
        progress.begin("write", sum(len(one.data) for one in blocks))
        done = 0
        for number, address, size in [*sectors[1:], sectors[0]]:
            inside = [one for one in blocks if address <= one.address < address + size]
            if number == sectors[0][0]:
                inside = [*inside[1:], inside[0]]
            self._write_sector(number, size, inside, progress)
            done += sum(len(one.data) for one in inside)
            progress.reach(done)
        self.link.held()

    def _erase(self, number: int, size: int) -> None:
        self.link.retry(lambda loader: loader.erase(number, size), _TRIES)

    def _write_sector(
        self, number: int, size: int, blocks: Sequence[Segment], progress: Progress
    ) -> None:
        """Write the blocks of an erased sector; begin it anew if one of them came out wrong."""
        begun = progress.done
        for _ in range(_SECTOR_TRIES):
            done, rest = begun, list(blocks)
            while rest:
                count = self._write_batch(rest[:_BATCH])
                # One that did not go well is looked at on its own.
                if count < len(rest[:_BATCH]):
                    if not self._write_block(rest[count], unsure=True):
                        break
                    count += 1
                done += sum(len(one.data) for one in rest[:count])
                progress.reach(done)
                del rest[:count]
            else:
                return
            self._erase(number, size)
        raise FlashError(
            f"its sector {number} cannot be written", thing=self.bench.name,
            action="look whether it is write-protected, and at the line",
        )  # fmt: skip

    def _write_batch(self, blocks: Sequence[Segment]) -> int:
        """Write blocks in a row; return how many went well. What is erased needs no writing."""
        needed = [one for one in blocks if set(one.data) != {ERASED}]
        if not needed:
            return len(blocks)
        done = self.link.loader.write_many([(one.address, one.data) for one in needed])
        return len(blocks) if done == len(needed) else blocks.index(needed[done])

    def _write_block(self, block: Segment, *, unsure: bool) -> bool:
        """Write one block; return False if the sector must be erased again.

        Args:
            block: What is to be written.
            unsure: It was tried, and it is not known what came of it.
        """
        for _ in range(_TRIES):
            try:
                if unsure:
                    unsure = False
                    raise LinkError("a block was not answered as it should be")
                self.link.loader.write(block.address, block.data)
            except LinkError as error:
                self.link.repair(error)
                # Nothing, all of it, or, after a lost byte, something else may have been written.
                found = self._read(block)
                if found == block.data:
                    return True
                if set(found) != {ERASED}:
                    return False
            else:
                return True
        return False

    def _read(self, block: Segment) -> bytes:
        def read(loader: Loader) -> bytes:
            return loader.read(block.address, len(block.data))

        return self.link.retry(read)

    def _read_all(self, blocks: Sequence[Segment]) -> Iterator[tuple[Segment, bytes]]:
        """Yield each block with what the chip has there."""
        rest = list(blocks)
        while rest:
            batch = rest[:_BATCH]
            found = self.link.loader.read_many([(one.address, len(one.data)) for one in batch])
            yield from zip(batch[: len(found)], found, strict=True)
            if len(found) < len(batch):
                self.link.repair(LinkError("a block was not answered as it should be"))
                yield batch[len(found)], self._read(batch[len(found)])
                found.append(b"")
            del rest[: len(found)]

    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Read all of it back."""
        blocks = list(cut(segments, BLOCK))
        progress.begin("verify", sum(len(one.data) for one in blocks))
        done, found = 0, []
        for block, first in self._read_all(blocks):
            data = first
            # What comes back has no checksum: a difference is believed when it comes again.
            if data != block.data and (again := self._read(block)) != data:
                data = again if again == block.data else self._read(block)
            found.append(data)
            if data != block.data:
                raise VerifyError(
                    f"what is at {block.address:#x} is not what was written",
                    thing=self.bench.name,
                    action="look whether its flash is write-protected, or worn out",
                )  # fmt: skip
            done += len(data)
            progress.reach(done)
        now = _digest(b"".join(found))
        wanted = _digest(b"".join(one.data for one in segments))
        return Comparison(now == wanted, now, wanted, "bytes")

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Reset the board; where that cannot be done from here, start its program."""
        if not self.link.can_reset():
            self.link.retry(lambda loader: loader.go(self.region.base))
        self.link.leave()

    def abort(self) -> None:
        """Leave the board listening."""
        self.link.give_up()


def _digest(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"
