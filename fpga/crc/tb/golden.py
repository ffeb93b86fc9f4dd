"""The Rocksoft model of a CRC, bit by bit, written from its definition and not from the RTL."""


def turn(value: int, bits: int) -> int:
    """The bits of a value in the other order."""
    return int(f"{value:0{bits}b}"[::-1], 2)


def crc(data: bytes, *, width: int, poly: int, init: int, xorout: int, refin: int, refout: int):
    """The check of some bytes, by long division over GF(2).

    The message, `width` zeros behind it and `init` added to its first bits, modulo the polynomial.
    """
    message = int.from_bytes(bytes(turn(one, 8) if refin else one for one in data), "big")
    length = 8 * len(data) + width
    rest = (message << width) ^ (init << (length - width))
    divisor = poly | 1 << width
    for position in range(length - 1, width - 1, -1):
        if rest >> position & 1:
            rest ^= divisor << (position - width)
    return (turn(rest, width) if refout else rest) ^ xorout
