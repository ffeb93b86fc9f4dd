"""An ESP chip by the loader in its ROM and esptool's stub, with esptool as a library.

What is there is compared by MD5, computed on the chip, in pieces of 64 KiB; only pieces that differ
are written, compressed. Chips with secure boot or flash encryption are refused: what that needs is
esptool's own business.

Source: Espressif, "Serial Protocol" (in esptool's documentation).
"""

from __future__ import annotations

import hashlib
import importlib.util
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from labctl.boards.flash.esp.link import Link, LinkError, failures
from labctl.boards.flash.image import Image, Segment, cut
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
from labctl.boards.keys import Key

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

T = TypeVar("T")
_MAGIC = 0xE9
_SECTOR, _PIECE = 0x1000, 0x10000
# Neighbouring pieces are sent as one stream of at most so much: a failure costs no more.
_MOST_AT_ONCE = 0x100000
_TRIES = 4
# Erasing 64 KiB takes 0.15 s, writing it 0.1 s (data sheet of the W25Q32JV); 2 s at worst.
_FLASH_S, _FLASH_WORST_S = 0.25 / _PIECE, 4.0 / _PIECE
_MD5_S = 8.0 / (1 << 20)  # esptool's MD5_TIMEOUT_PER_MB
_BITS_PER_BYTE = 10
_XTENSA = frozenset({"esp8266", "esp32", "esp32s2", "esp32s3"})


class EspRom(Method):
    """See the module."""

    name = "esp-rom"
    keys: ClassVar[Mapping[str, Key]] = {
        "region": Key(str, "The flash, a name below 'memory:'; 'flash' if not given."),
        "offset": Key(int, "Where in the flash the image begins; a multiple of 4096."),
        "rates": Key(list, "Rates to try above 115200, baud, as texts."),
        "any": Key(bool, "It may be anything, not only a firmware image: a file system, a table."),
        "stub": Key(bool, "Load esptool's stub into RAM, which is faster; true if not given."),
    }

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self.region = region_of(bench.model, str(self.config.get("region", "flash")))
        self.link = Link(
            bench,
            rates=[int(one) for one in self.config.get("rates", ())],
            stub=bool(self.config.get("stub", True)),
        )
        self._changed: list[Segment] = []
        self._chip_id: int | None = None

    def missing(self) -> str | None:
        """Return why it cannot be used here, or None."""
        if importlib.util.find_spec("esptool") is None:
            return "esptool is not installed: pip install 'labctl-suite[esp]'"
        return None

    # -- before anything is touched ----------------------------------------------------------

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        offset = int(self.config.get("offset", 0))
        if image.kind == "elf":
            raise RefusedError("it is an ELF file, and the chip starts images",
                               thing=str(image.path),
                               action="make one: esptool elf2image")  # fmt: skip
        if offset % _SECTOR:
            raise RefusedError(f"'offset' {offset:#x} is no multiple of {_SECTOR}",
                               thing=self.bench.name, action="correct its model")  # fmt: skip
        segments = tuple(
            Segment(one.address, one.data + b"\xff" * (-len(one.data) % 4))
            for one in image.at(self.region.base + offset)
        )
        self.region.check(segments, thing=self.bench.name)
        if not self.config.get("any"):
            head = segments[0].data[:24] if segments else b""
            if head[:1] != bytes([_MAGIC]) or len(head) < 24:
                raise RefusedError(
                    "it is no firmware image of an ESP chip (those begin with the byte 0xe9)",
                    thing=str(image.path),
                    action="take the .bin that the build made, or --to a place for other things",
                )
            self._chip_id = int.from_bytes(head[12:14], "little")
        return segments

    def connect(self) -> Identity:
        """Bring the board into its loader; return what it says of itself."""
        self.link.enter()

        def ask(esp: Any) -> Identity:  # noqa: ANN401 - esptool has no types
            from esptool.cmds import detect_flash_size  # noqa: PLC0415 - slow, and an extra

            self._refuse(esp)
            chip = esp.CHIP_NAME.lower().replace("-", "")
            facts = {
                "chip": esp.get_chip_description(),
                "mac": ":".join(f"{byte:02x}" for byte in esp.read_mac()),
                "flash": str(detect_flash_size(esp)),
            }
            architecture = "xtensa" if chip in _XTENSA else "riscv32"
            return Identity(facts, frozenset({"mac"}), architecture, chip)

        return self._retry(ask)

    def _refuse(self, esp: Any) -> None:  # noqa: ANN401 - esptool has no types
        if esp.secure_download_mode or esp.get_secure_boot_enabled():
            raise RefusedError("its secure boot is on", thing=self.bench.name,
                               action="use esptool by hand, knowingly")  # fmt: skip
        if esp.get_flash_encryption_enabled():
            raise RefusedError("its flash is encrypted", thing=self.bench.name,
                               action="use esptool by hand, knowingly")  # fmt: skip
        if self._chip_id is not None and esp.IMAGE_CHIP_ID not in (None, self._chip_id):
            raise RefusedError(
                f"the image is for the chip with ID {self._chip_id}, and this one is "
                f"{esp.CHIP_NAME} (ID {esp.IMAGE_CHIP_ID})",
                thing=self.bench.name, action="take the image that was built for this chip",
            )  # fmt: skip

    def _retry(self, what: Callable[[Any], T]) -> T:
        """Return what ``what`` returns, which may be done more than once.

        Raises:
            FlashError: It fails again and again.
        """
        failed = ""
        for attempt in range(_TRIES):
            if attempt:
                if attempt > 1:
                    self.link.step_down()
                self.link.enter()
            try:
                with failures():
                    return what(self.link.esp)
            except LinkError as error:
                failed = str(error)
        raise FlashError(failed, thing=self.bench.name,
                         action="look at the cable, or choose lower rates")  # fmt: skip

    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Compare digests computed on the chip; note which pieces differ."""
        found = self._compare(segments)
        self._changed = []
        if not found.same:
            for piece in cut(segments, _PIECE):
                if self._md5(piece) != _md5(piece.data):
                    self._changed.append(piece)
        return found

    def _compare(self, segments: Sequence[Segment]) -> Comparison:
        now = [self._md5(one) for one in segments]
        wanted = [_md5(one.data) for one in segments]
        return Comparison(now == wanted, _joined(now), _joined(wanted), "md5")

    def _md5(self, piece: Segment) -> str:
        digest: str = self._retry(
            lambda esp: esp.flash_md5sum(piece.address - self.region.base, len(piece.data))
        )
        return digest.lower()

    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how it gets there."""
        pieces = self._changed or list(cut(segments, _PIECE))
        runs = _runs(pieces)
        total = sum(len(one.data) for one in pieces)
        packed = sum(len(_packed(one.data)) for one in runs)
        limit = self.link.rate / _BITS_PER_BYTE
        sectors = sum(-(-len(one.data) // _SECTOR) for one in pieces)
        loader = "esptool's stub" if self.config.get("stub", True) else "its ROM"
        return Route(
            f"{loader} at {self.link.rate} baud, compressed", packed, limit=limit,
            seconds=max(packed / limit, total * _FLASH_S) + total * _MD5_S / 8,
            steps=(
                f"erase {sectors} sectors ({sectors * _SECTOR:,} bytes) of "
                f"{len(runs)} parts from {pieces[0].address:#x}",
                f"write {total:,} bytes",
                "compare the MD5, computed on the chip",
            ),
        )  # fmt: skip

    # -- writing -----------------------------------------------------------------------------

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Write the pieces that differ; all of them if nothing was compared."""
        runs = _runs(self._changed or list(cut(segments, _PIECE)))
        progress.begin("write", sum(len(one.data) for one in runs))
        done = 0
        for run in runs:
            # Without a boot between, the chip knows where its flash is from the first time.
            self._retry(lambda esp, run=run, done=done: self._send(esp, run, progress, done))  # type: ignore[misc]
            done += len(run.data)
            progress.reach(done)
        self.link.held()

    def _send(self, esp: Any, run: Segment, progress: Progress, done: int) -> None:  # noqa: ANN401
        """Write one stream and look whether it is there."""
        address, size = run.address - self.region.base, len(run.data)
        esp.flash_set_parameters(self.region.size)
        packed = _packed(run.data)
        step = esp.FLASH_WRITE_SIZE
        esp.flash_defl_begin(size, len(packed), address)
        plain, unpacked = zlib.decompressobj(), 0
        for number, begin in enumerate(range(0, len(packed), step)):
            block = packed[begin : begin + step]
            count = len(plain.decompress(block))
            # The stub writes a block while it takes the next one.
            esp.flash_defl_block(block, number, timeout=3.0 + (count + _PIECE) * _FLASH_WORST_S)
            unpacked += count
            progress.reach(done + unpacked)
        # An answer that waits until the last block is written.
        esp.read_reg(esp.CHIP_DETECT_MAGIC_REG_ADDR, timeout=3.0 + 2 * _PIECE * _FLASH_WORST_S)
        if esp.flash_md5sum(address, size).lower() != _md5(run.data):
            raise LinkError(f"what is at {address:#x} is not what was sent")

    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Compare digests of all of it, computed on the chip."""
        progress.begin("verify", sum(len(one.data) for one in segments))
        found = self._compare(segments)
        if not found.same:
            raise VerifyError(
                f"what is in its flash is not what was written (MD5 {found.now})",
                thing=self.bench.name, action="the flash may be worn out or protected",
            )  # fmt: skip
        progress.reach(progress.total)
        return found

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Reset the board into its program."""
        self.link.leave()

    def abort(self) -> None:
        """Reset the board into what it has."""
        self.link.give_up()


def _runs(pieces: Sequence[Segment]) -> list[Segment]:
    """Return neighbours joined."""
    found: list[Segment] = []
    for one in pieces:
        last = found[-1] if found else None
        if last and last.end == one.address and len(last.data) + len(one.data) <= _MOST_AT_ONCE:
            found[-1] = Segment(last.address, last.data + one.data)
        else:
            found.append(one)
    return found


@lru_cache(maxsize=16)
def _packed(data: bytes) -> bytes:
    """Return ``data`` compressed; the plan asks for it, and then the writing."""
    return zlib.compress(data, 9)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _joined(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else _md5("".join(digests).encode())
