"""What is to be written, as files for a program that writes it.

Source of the Intel HEX records: Intel, Hexadecimal Object File Format Specification, revision A
(1988): data (00), end (01), extended linear address (04).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from labctl.boards.flash.image import Segment

_RECORD_BYTES = 16


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="labctl-flash-") as name:
        yield Path(name)


def intel_hex(segments: Sequence[Segment]) -> str:
    """Return ``segments`` as Intel HEX."""
    lines: list[str] = []
    upper = 0
    for one in segments:
        at = 0
        while at < len(one.data):
            address = one.address + at
            if address >> 16 != upper:
                upper = address >> 16
                lines.append(_record(0, 4, upper.to_bytes(2, "big")))
            # A record does not go beyond the 64 KiB that its address can name.
            size = min(_RECORD_BYTES, len(one.data) - at, 0x10000 - (address & 0xFFFF))
            lines.append(_record(address & 0xFFFF, 0, one.data[at : at + size]))
            at += size
    lines.append(_record(0, 1, b""))
    return "".join(f"{line}\n" for line in lines)


def _record(address: int, kind: int, data: bytes) -> str:
    raw = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return f":{raw.hex().upper()}{-sum(raw) & 0xFF:02X}"
