"""Blocks of LZ4 and FastLZ, in which waves are packed; Python's own library has neither.

LZ4: https://github.com/lz4/lz4/blob/v1.9.4/doc/lz4_Block_format.md
FastLZ: https://github.com/ariya/FastLZ (0.5.0), "Compressed format", levels 1 and 2.
"""

from __future__ import annotations


class DamagedError(ValueError):
    """The data is not what it should be."""


def unpack_lz4(data: bytes, size: int) -> bytes:
    """Return the ``size`` bytes that are packed in ``data``.

    Raises:
        DamagedError: It is damaged, or holds more or less.
    """
    out = bytearray()
    at = 0
    try:
        while at < len(data):
            token = data[at]
            at += 1
            count, at = _more(data, at, token >> 4)
            if at + count > len(data):
                raise DamagedError("a piece of text that is cut off")
            out += data[at : at + count]
            at += count
            if at == len(data):
                break  # the last one has text only
            back = data[at] | data[at + 1] << 8
            count, at = _more(data, at + 2, token & 15)
            _repeat(out, back, count + 4, size)
    except IndexError:
        raise DamagedError("cut off") from None
    if len(out) != size:
        raise DamagedError(f"{len(out)} bytes instead of {size}")
    return bytes(out)


def _more(data: bytes, at: int, count: int) -> tuple[int, int]:
    if count == 15:
        while True:
            more = data[at]
            at += 1
            count += more
            if more != 255:
                break
    return count, at


def unpack_fastlz(data: bytes, size: int) -> bytes:
    """Return the ``size`` bytes that are packed in ``data``.

    Raises:
        DamagedError: It is damaged, or holds more or less.
    """
    out = bytearray()
    try:
        second = data[0] >> 5 == 1
        control, at = data[0] & 31, 1
        while True:
            if control < 32:
                if at + control + 1 > len(data):
                    raise DamagedError("a piece of text that is cut off")
                out += data[at : at + control + 1]
                at += control + 1
            else:
                count, back = control >> 5, (control & 31) << 8
                if count == 7:
                    while True:
                        more = data[at]
                        at += 1
                        count += more
                        if not second or more != 255:
                            break
                low = data[at]
                at += 1
                back += low
                if second and back == 31 << 8 | 255:
                    back = (data[at] << 8 | data[at + 1]) + 8191
                    at += 2
                _repeat(out, back + 1, count + 2, size)
            if at >= len(data):
                break
            control = data[at]
            at += 1
    except IndexError:
        raise DamagedError("cut off") from None
    if len(out) != size:
        raise DamagedError(f"{len(out)} bytes instead of {size}")
    return bytes(out)


def _repeat(out: bytearray, back: int, count: int, size: int) -> None:
    """Append ``count`` bytes that begin ``back`` bytes ago; they may reach into themselves."""
    if not 0 < back <= len(out) or len(out) + count > size:
        raise DamagedError("it refers to what is not there")
    start = len(out) - back
    if back >= count:
        out += out[start : start + count]
    else:
        piece = bytes(out[start:])
        out += (piece * (count // back + 1))[:count]
