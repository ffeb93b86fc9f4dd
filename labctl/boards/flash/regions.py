"""Places of memory and flash in a model: where they begin, and what is erased together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labctl.boards.flash.image import ERASED, Segment
from labctl.boards.flash.method import RefusedError
from labctl.boards.model import BoardModel
from labctl.errors import UsageError


@dataclass(frozen=True)
class Kept:
    """A part that must not be touched.

    Attributes:
        base: First address.
        size: Bytes.
        what: What is there.
    """

    base: int
    size: int
    what: str


@dataclass(frozen=True)
class Region:
    """A region of memory or flash.

    Attributes:
        name: Its name below ``memory:``.
        base: First address.
        size: Bytes.
        blocks: Runs of blocks that are erased together: how many, of how many bytes; empty for
            memory that needs no erasing.
        keep: Parts that must not be touched.
    """

    name: str
    base: int
    size: int
    blocks: tuple[tuple[int, int], ...] = ()
    keep: tuple[Kept, ...] = ()

    @property
    def end(self) -> int:
        """Address after the last byte."""
        return self.base + self.size

    def erase_blocks(self) -> Iterator[tuple[int, int]]:
        """Yield address and size of each erase block, ascending."""
        at = self.base
        for count, size in self.blocks:
            for _ in range(count):
                yield at, size
                at += size

    def check(self, segments: Sequence[Segment], *, thing: str) -> None:
        """Refuse what does not fit into the region or would touch what must stay.

        Raises:
            RefusedError: It does not fit; the message says by how much, or what is there.
        """
        for one in segments:
            if one.address < self.base or one.end > self.end:
                raise self._outside(one, thing)
        touched = [(block.address, block.end) for block in self.whole_blocks(segments)]
        for kept in self.keep:
            end = kept.base + kept.size
            if not any(begin < end and kept.base < stop for begin, stop in touched):
                continue
            where = f"{kept.what} at {kept.base:#x} ({kept.size:,} bytes)"
            if any(one.address < end and kept.base < one.end for one in segments):
                raise RefusedError(
                    f"it would overwrite {where} in '{self.name}'",
                    thing=thing, action="choose another place, or an image that leaves it alone",
                )  # fmt: skip
            raise RefusedError(
                f"it would erase {where} in '{self.name}', which shares a block with it",
                thing=thing, action="choose a place that begins and ends with an erase block",
            )  # fmt: skip

    def _outside(self, segment: Segment, thing: str) -> RefusedError:
        here = f"'{self.name}' is {self.base:#x} to {self.end - 1:#x}"
        size = len(segment.data)
        if self.base <= segment.address < self.end:
            over = segment.end - self.end
            return RefusedError(
                f"it is too large by {over:,} byte{'' if over == 1 else 's'}: it has {size:,} at "
                f"{segment.address:#x}, and {here}",
                thing=thing, action="take a smaller image, or another place",
            )  # fmt: skip
        return RefusedError(
            f"it has {size:,} bytes for {segment.address:#x}, and {here}",
            thing=thing, action="take the image that was linked for this place",
        )  # fmt: skip

    def also_erased(self, segments: Sequence[Segment]) -> list[tuple[int, int]]:
        """Return begin and end of what is erased with ``segments`` because it shares a block."""
        found = []
        ordered = sorted(segments, key=lambda one: one.address)
        for block in self.whole_blocks(ordered):
            at = block.address
            for one in ordered:
                if one.end <= at or one.address >= block.end:
                    continue
                if one.address > at:
                    found.append((at, one.address))
                at = one.end
            if at < block.end:
                found.append((at, block.end))
        return found

    def whole_blocks(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return the erase blocks that ``segments`` touch, with what each will hold.

        What a block holds besides is erased. Memory without erase blocks is returned as it is.
        """
        if not self.blocks:
            return list(segments)
        result = []
        for address, size in self.erase_blocks():
            parts = [one for one in segments if one.address < address + size and address < one.end]
            if not parts:
                continue
            content = bytearray([ERASED]) * size
            for one in parts:
                begin, end = max(one.address, address), min(one.end, address + size)
                content[begin - address : end - address] = one.data[
                    begin - one.address : end - one.address
                ]
            result.append(Segment(address, bytes(content)))
        return result


def region_of(model: BoardModel, name: str) -> Region:
    """Return the region ``name`` of ``model``.

    Raises:
        UsageError: It has none of that name.
    """
    memory = model.data["memory"]
    if name not in memory:
        raise UsageError(
            f"its model has no memory '{name}'", thing=str(model.path),
            action=f"write one of {', '.join(memory) or 'none'}, or describe it below 'memory:'",
        )  # fmt: skip
    return _region(name, memory[name])


def regions(model: BoardModel) -> list[Region]:
    """Return all regions of ``model``."""
    return [_region(name, entry) for name, entry in model.data["memory"].items()]


def _region(name: str, entry: Mapping[str, Any]) -> Region:
    base, size = int(entry["base"]), int(entry["size"])
    blocks: tuple[tuple[int, int], ...] = ()
    if entry["sectors"]:
        blocks = tuple((one["count"], one["size"]) for one in entry["sectors"])
    elif entry["erase_block"]:
        blocks = ((size // entry["erase_block"], entry["erase_block"]),)
    keep = tuple(
        Kept(base + one["offset"], one["size"], one["what"]) for one in entry.get("keep") or ()
    )
    return Region(name, base, size, blocks, keep)
