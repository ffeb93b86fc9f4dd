"""What a recording of waves has: signals in scopes, and how their values change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """A signal of the design.

    Attributes:
        name: With its scopes: ``top.part.data``.
        bits: How many; 0 where it is no vector of bits (a real number, a text).
        handle: Number of its values: several signals may be the same net.
        kind: ``reg``, ``wire``, ``parameter``, ...
        direction: ``input``, ``output``, ``inout``, or empty.
        range: ``[7:0]``, or empty.
    """

    name: str
    bits: int
    handle: int
    kind: str = ""
    direction: str = ""
    range: str = ""

    @property
    def scope(self) -> str:
        """The scopes that it is in."""
        return self.name.rpartition(".")[0]

    @property
    def short(self) -> str:
        """Its name without its scopes."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Trace:
    """The values of a signal: each with the time, in units of the recording, from which it holds.

    Values are texts of ``0``, ``1``, ``x``, ``z``, the highest bit first.
    """

    times: tuple[int, ...]
    values: tuple[str, ...]
