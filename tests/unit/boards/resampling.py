"""What a receiver reads from a line whose sender has another rate, bit by bit.

A byte is a start bit (0), eight data bits, lowest first, and a stop bit (1); an idle line is 1. The
receiver waits for a 0, looks at the middle of each bit by its own clock, and takes what it sees.
"""

from __future__ import annotations


def resample(data: bytes, sender: int, receiver: int) -> bytes:
    """Return what a receiver at ``receiver`` baud makes of ``data`` sent at ``sender`` baud."""
    if sender == receiver:
        return data
    bits = [1]
    for value in data:
        bits += [0, *(value >> place & 1 for place in range(8)), 1]
    ratio = sender / receiver  # bits of the sender in one of the receiver
    bits += [1] * int(12 * ratio + 2)

    def level(at: float) -> int:
        return bits[int(at)]

    got = bytearray()
    at = 0.0
    end = len(bits) - 10 * ratio
    while at < end:
        if level(at):
            at = int(at) + 1.0  # the next edge
            continue
        if level(at + 0.5 * ratio):
            at += 0.5 * ratio  # too short for a start bit
            continue
        got.append(sum(level(at + (1.5 + place) * ratio) << place for place in range(8)))
        at += 9.5 * ratio
        if not level(at):  # a framing error; the line is to go up before the next start bit
            while at < end and not level(at):
                at = int(at) + 1.0
    return bytes(got)
