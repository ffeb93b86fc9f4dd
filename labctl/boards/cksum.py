"""The checksum of POSIX ``cksum``, fast.

Source: POSIX.1-2017, cksum: CRC with the polynomial 04C11DB7 of ISO/IEC 8802-3, most significant
bit first, over the bytes and then over their count, least significant byte first; complemented.
"""

from __future__ import annotations

import zlib

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def cksum(data: bytes) -> int:
    """Return what ``cksum`` prints first for ``data``.

    zlib has the same polynomial with its bits in the other order, so the bits of all bytes are
    turned round before, and those of the result after.
    """
    size = len(data)
    length = size.to_bytes((size.bit_length() + 7) // 8, "little")
    mirrored = (data + length).translate(_REVERSED)
    # A register that begins with 0 is one that zlib is told to continue from all ones.
    crc = zlib.crc32(mirrored, 0xFFFFFFFF)
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")
