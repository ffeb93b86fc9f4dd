"""Into the RAM of a board through U-Boot, and started there if the model says how.

Nothing that lasts is changed; it is the quickest way to try a kernel.

Source: U-Boot's doc/usage/cmd/{loady,bootm,booti,go}.rst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from labctl.boards.flash.image import Image, Segment, fill
from labctl.boards.flash.method import Progress, RefusedError
from labctl.boards.flash.regions import region_of
from labctl.boards.flash.uboot.method import Piece, UBootMethod
from labctl.boards.keys import Key


class UBootRam(UBootMethod):
    """See the module."""

    name = "uboot-ram"
    keys: ClassVar[Mapping[str, Key]] = {
        **UBootMethod.keys,
        "region": Key(str, "The RAM, a name below 'memory:'; checked if given."),
        "address": Key(int, "Where an image without addresses goes."),
        "boot": Key(
            list, "Commands that start it; {address} and {size} stand for where it is (hexadecimal)"
            " and its bytes.",
        ),
    }  # fmt: skip

    # What was laid out last; it is what `finish` starts.
    _image: Segment | None = None

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        if not image.placed and "address" not in self.config:
            raise RefusedError(
                "neither the image nor the model says at which address it goes",
                thing=self.bench.name, action="give 'address' in its model",
            )  # fmt: skip
        segments = image.at(int(self.config.get("address", 0)))
        if "region" in self.config:
            region_of(self.bench.model, self.config["region"]).check(
                segments, thing=self.bench.name
            )
        self._image = fill(segments, erased=0)
        return (self._image,)

    def pieces(self, segments: Sequence[Segment]) -> list[Piece]:
        """Return it as a whole."""
        return [Piece(one.address, one.data) for one in segments]

    def digests(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the digests of RAM as it is."""
        return self.monitor.crc32s([(one.address, len(one.data)) for one in pieces])

    def steps(self, changed: Sequence[Piece]) -> list[str]:
        """Return what would be done."""
        lines = [f"load {len(one.data):,} bytes to {one.address:#x}" for one in changed]
        boot = [f"run: {command}" for command in self.config.get("boot", ())]
        return [*lines, "compare the CRC-32, computed on the board", *boot]

    def write_pieces(self, pieces: Sequence[Piece], progress: Progress, done: int) -> None:
        """Put it where it belongs."""
        for one in pieces:
            end = one.address + len(one.data)
            ceiling = self.monitor.ceiling(one.address)
            if end > ceiling:
                raise RefusedError(
                    f"it would reach up to {end:#x}, and U-Boot itself is from {ceiling:#x} on",
                    thing=self.bench.name,
                    action="choose a lower address",
                )  # fmt: skip
            scratch = self._scratch(one)
            self.stager.put(
                one.address, scratch, one.data, lambda count: progress.reach(done + count)
            )

    def _scratch(self, piece: Piece) -> int:
        """Return where its packed form goes: behind it."""
        end = piece.address + len(piece.data)
        scratch = end + (-end % 0x10000) + 0x10000
        if scratch + len(piece.data) > self.monitor.ceiling(piece.address):
            raise RefusedError(
                "there is no room behind it in RAM to unpack it", thing=self.bench.name,
                action="choose a lower address",
            )  # fmt: skip
        return scratch

    def leave(self) -> None:
        """Start nothing."""
        self.close()

    def finish(self) -> None:
        """Start it, where the model says how."""
        commands = self.config.get("boot", ())
        self.close()
        if not commands or self._image is None:
            return
        uboot = self.bench.uboot
        assert uboot is not None
        words = {"address": f"{self._image.address:#x}", "size": f"{len(self._image.data):#x}"}
        *before, last = [command.format_map(words) for command in commands]
        for command in before:
            self.monitor.run(command)
        self.say(f"starting it: {last}")
        uboot.send_line(last)
