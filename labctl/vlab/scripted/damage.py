"""Bytes that get lost, doubled or changed on the wire, and kernel messages between them.

Every fault draws the distance to its next hit, so the outcome does not depend on how the stream
is cut into pieces, and one seed always makes the same damage.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

# What drivers print at any time; the numbers are filled in.
_MESSAGES = (
    "usb 1-1: new high-speed USB device number {} using xhci_hcd",
    "random: crng init done",
    "mmc0: new high speed SDHC card at address aaa{}",
    "eth0: Link is Up - 1Gbps/Full - flow control rx/tx",
    "systemd-journald[{}]: Received client request to flush runtime journal.",
    "audit: type=1400 audit(1700000000.{}:2): avc: denied",
    "EXT4-fs (mmcblk0p{}): re-mounted. Quota mode: none.",
    "hrtimer: interrupt took {} ns",
)


def randoms(seed: int, what: str) -> random.Random:
    """Return the source of randomness of one fault, independent of all others."""
    return random.Random(f"{seed}:{what}")  # noqa: S311 - repeatable damage, nothing secret


def _apart(source: random.Random) -> random.Random:
    """Return a source for what is done to a hit, so that it is drawn as often as there are hits."""
    return random.Random(source.getrandbits(64))  # noqa: S311 - likewise


class Hits:
    """Which bytes of a stream are hit, each with the chance ``share``."""

    def __init__(self, share: float, source: random.Random) -> None:
        self._share = share
        self._source = source
        self._ahead = self._distance()  # untouched bytes before the next hit

    def among(self, count: int) -> list[int]:
        """Return the places hit among the next ``count`` bytes."""
        if self._ahead >= count:
            self._ahead -= count
            return []
        found = []
        at = int(self._ahead)
        while at < count:
            found.append(at)
            following = self._distance()
            if following >= count - at:
                self._ahead = following - (count - at - 1)
                return found
            at += 1 + int(following)
        self._ahead = at - count
        return found

    def _distance(self) -> float:
        """Draw from the geometric distribution."""
        if self._share <= 0:
            return math.inf
        if self._share >= 1:
            return 0
        return math.floor(math.log(1.0 - self._source.random()) / math.log1p(-self._share))


class Stage:
    """One kind of damage: what is hit is replaced by what ``change`` makes of it.

    Attributes:
        count: Bytes hit so far.
    """

    def __init__(
        self,
        share: float,
        source: random.Random,
        change: Callable[[bytes], bytes],
    ) -> None:
        self._hits = Hits(share, source)
        self._change = change
        self.count = 0

    def apply(self, data: bytes) -> bytes:
        """Return ``data`` with the damage done."""
        places = self._hits.among(len(data))
        if not places:
            return data
        self.count += len(places)
        return b"".join(_pieces(data, places, self._change))


def _pieces(data: bytes, places: list[int], change: Callable[[bytes], bytes]) -> Iterator[bytes]:
    done = 0
    for place in places:
        yield data[done:place]
        yield change(data[place : place + 1])
        done = place + 1
    yield data[done:]


def losing(share: float, source: random.Random) -> Stage:
    """Return a wire that loses this share of the bytes."""
    return Stage(share, source, lambda _byte: b"")


def doubling(share: float, source: random.Random) -> Stage:
    """Return a wire that delivers this share of the bytes twice."""
    return Stage(share, source, lambda byte: byte * 2)


def flipping(share: float, source: random.Random) -> Stage:
    """Return a wire that changes one bit in this share of the bytes."""
    bits = _apart(source)
    return Stage(share, source, lambda byte: bytes([byte[0] ^ 1 << bits.randrange(8)]))


def printk_line(seconds: float, text: str) -> bytes:
    """Return a kernel message as the console shows it (CONFIG_PRINTK_TIME, printk.c)."""
    return f"[{seconds:12.6f}] {text}\r\n".encode()


def noising(share: float, source: random.Random, uptime: Callable[[], float]) -> Stage:
    """Return a kernel that prints a message before this share of the bytes."""
    words = _apart(source)

    def interrupted(byte: bytes) -> bytes:
        text = words.choice(_MESSAGES).format(words.randrange(1, 1000))
        return printk_line(uptime(), text) + byte

    return Stage(share, source, interrupted)
