"""NOR flash: erased by sectors to ones, programmed from ones to zeros, kept in a file.

Both take time and can be cut off in the middle: an erase then leaves some bits erased and some
not, a programmed block its first half.
"""

from __future__ import annotations

import mmap
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

from labctl.vlab.rom.program import Program, Spend

ERASED = 0xFF
# What becomes of a cell that is programmed a second time without an erase between:
#   and: the bits that are zero in either are zero (STM32F4, RM0390 section 3.6; serial NOR)
#   refuse: it stays as it is (STM32F1, PM0075: PGERR is set and the cell is not written)
Overwrite = Literal["and", "refuse"]


class Nor:
    """A flash.

    Args:
        path: File that keeps it; made, erased, where it is missing. None keeps it in memory only.
        sectors: Size of each sector, bytes, from the first on.
        unit: Bytes that are programmed together.
        overwrite: What happens to a unit that is not erased.
        byte_s: Seconds to program one byte.
        scale: Factor on all times; 0 takes none.
    """

    def __init__(
        self,
        path: Path | None,
        sectors: Sequence[int],
        *,
        unit: int = 1,
        overwrite: Overwrite = "and",
        byte_s: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self.sectors = tuple(sectors)
        self._starts = list(accumulate(sectors, initial=0))
        self.size = self._starts.pop()
        self._unit = unit
        self._overwrite = overwrite
        self._byte_s = byte_s * scale
        self._scale = scale
        self._random = random.Random(1)  # noqa: S311 - repeatable, nothing secret
        if path is None:
            self._cells = mmap.mmap(-1, self.size)
            self._cells[:] = bytes([ERASED]) * self.size
            return
        if not path.exists() or path.stat().st_size != self.size:
            path.write_bytes(bytes([ERASED]) * self.size)
        with path.open("r+b") as stream:
            self._cells = mmap.mmap(stream.fileno(), self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Return what is there."""
        return self._cells[offset : offset + size]

    def start_of(self, sector: int) -> int:
        """Return the offset of a sector."""
        return self._starts[sector]

    def sectors_in(self, offset: int, size: int) -> range:
        """Return which sectors hold any of ``size`` bytes at ``offset``."""
        first = bisect_right(self._starts, offset) - 1
        return range(first, bisect_left(self._starts, offset + size))

    def erase(self, offset: int, size: int, seconds: float) -> Program:
        """Erase; ``seconds`` is what the datasheet says it takes."""
        old = self._cells[offset : offset + size]
        some = self._random.randbytes(size)
        # Done through integers: a loop over bytes takes longer than the real erase does.
        torn = int.from_bytes(old) | int.from_bytes(some)
        self._cells[offset : offset + size] = torn.to_bytes(size)
        yield Spend(seconds * self._scale)
        self._cells[offset : offset + size] = bytes([ERASED]) * size

    def program(self, offset: int, data: bytes) -> Program:
        """Program ``data``; whole units, or the rest of the last one is left as it is."""
        middle = len(data) // 2 // self._unit * self._unit
        for begin, piece in ((0, data[:middle]), (middle, data[middle:])):
            if not piece:
                continue
            self._put(offset + begin, piece)
            yield Spend(len(piece) * self._byte_s)

    def _put(self, offset: int, data: bytes) -> None:
        old = self._cells[offset : offset + len(data)]
        if self._overwrite == "and":
            both = int.from_bytes(old) & int.from_bytes(data)
            self._cells[offset : offset + len(data)] = both.to_bytes(len(data))
            return
        new = bytearray(data)
        for begin in range(0, len(data), self._unit):
            unit = slice(begin, begin + self._unit)
            # PM0075: a half word that is not erased takes nothing but 0.
            if any(byte != ERASED for byte in old[unit]) and any(data[unit]):
                new[unit] = old[unit]
        self._cells[offset : offset + len(new)] = new
