"""Drivers and monitors of valid/ready streams, with idle cycles and back-pressure.

The rules are those of AXI4-Stream (ARM IHI 0051A, 2.2.1): a word moves on a rising edge with valid
and ready high; valid, once high, stays so with the same data until then. The sink checks that.
"""

import random
from collections import deque
from collections.abc import Iterable
from typing import Any

import cocotb
from cocotb.triggers import Event, RisingEdge


class Pace:
    """How often a side pauses, in spells: long runs of full speed and long stops both occur.

    Args:
        pause: the share of cycles to pause, 0 to 1; None draws a new share for each spell.
        spell: the longest spell in cycles.
    """

    def __init__(self, pause: float | None = None, spell: int = 40) -> None:
        self.pause = pause
        self.spell = spell
        self._left = 0
        self._share = 0.0

    def go(self) -> bool:
        """Whether to be active in the next cycle."""
        if self.pause is not None:
            return random.random() >= self.pause
        if not self._left:
            self._left = random.randint(1, self.spell)
            self._share = random.choice((0.0, 0.2, 0.5, 0.9, 1.0))
        self._left -= 1
        return random.random() >= self._share


class Source:
    """Drives `PREFIX_valid` and the fields of a stream; `PREFIX_ready` is the design's.

    Args:
        dut: the handle that has the signals.
        clk: the stream's clock.
        prefix: what the names of the signals begin with.
        fields: the signals of a word, without prefix; a word is an integer or a tuple of them.
        pace: when to pause.
        joint: what stands between prefix and name; AXI has nothing there.
    """

    def __init__(
        self,
        dut: Any,
        clk: Any,
        prefix: str,
        fields: Iterable[str] = ("data",),
        pace: Pace | None = None,
        joint: str = "_",
    ) -> None:
        self.clk = clk
        self.pace = pace or Pace(0.0)
        self.valid = getattr(dut, f"{prefix}{joint}valid")
        self.ready = getattr(dut, f"{prefix}{joint}ready")
        self.fields = [getattr(dut, f"{prefix}{joint}{field}") for field in fields]
        self.queue: deque[tuple[int, ...]] = deque()
        self.sent: list[tuple[int, ...]] = []
        self._offered: tuple[int, ...] | None = None
        self._more = Event()
        self.valid.value = 0
        for field in self.fields:
            field.value = 0

    def start(self) -> "Source":
        """Begin to drive; returns itself."""
        cocotb.start_soon(self._run())
        return self

    def put(self, *words: int | tuple[int, ...]) -> None:
        """Queue words."""
        self.queue.extend(word if isinstance(word, tuple) else (word,) for word in words)
        self._more.set()

    @property
    def idle(self) -> bool:
        """Whether every queued word was taken."""
        return not self.queue and self._offered is None

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.clk)
            if self._offered is not None:
                if self.ready.value != 1:
                    await RisingEdge(self.ready)  # a long stall costs no time of the simulator
                    continue
                self.sent.append(self._offered)
                self._offered = None
            if self.queue and self.pace.go():
                self._offered = self.queue.popleft()
                for field, value in zip(self.fields, self._offered, strict=True):
                    field.value = value
                self.valid.value = 1
                continue
            self.valid.value = 0
            if not self.queue:
                self._more.clear()
                await self._more.wait()


class Sink:
    """Drives `PREFIX_ready`, keeps the words and checks that a waiting word does not change."""

    def __init__(
        self,
        dut: Any,
        clk: Any,
        prefix: str,
        fields: Iterable[str] = ("data",),
        pace: Pace | None = None,
        joint: str = "_",
    ) -> None:
        self.clk = clk
        self.pace = pace or Pace(0.0)
        self.prefix = prefix
        self.valid = getattr(dut, f"{prefix}{joint}valid")
        self.ready = getattr(dut, f"{prefix}{joint}ready")
        self.fields = [getattr(dut, f"{prefix}{joint}{field}") for field in fields]
        self.words: list[tuple[int, ...]] = []
        self.ready.value = 0

    def start(self) -> "Sink":
        """Begin to take words; returns itself."""
        cocotb.start_soon(self._run())
        return self

    async def _run(self) -> None:
        ready = False
        waiting: tuple[int, ...] | None = None
        while True:
            await RisingEdge(self.clk)
            if self.valid.value == 1:
                word = tuple(int(field.value) for field in self.fields)
                assert waiting in (None, word), f"{self.prefix}: {waiting} became {word} unread"
                if ready:
                    self.words.append(word)
                    waiting = None
                else:
                    waiting = word
            else:
                assert waiting is None, f"{self.prefix}: valid fell before {waiting} was read"
                if ready and self.pace.pause == 0.0:
                    await RisingEdge(self.valid)  # nothing to decide until then
            ready = self.pace.go()
            self.ready.value = ready
