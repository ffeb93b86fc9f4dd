"""Clock, reset, both ends of the line and the scoreboard of the UART core."""

import random
from collections import deque

import cocotb
from cocotb.triggers import Event, FallingEdge, ReadOnly, RisingEdge, Timer

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until

CLOCK_NS = 20.0


class TB:
    """One UART. `line_put` is the far end that sends; `line_got` is what the far end received.

    Args:
        dut: the design.
        divisor: cycles of a bit, less one.
        skew: by how much the far end's bits are longer than ours, e.g. 0.02.
    """

    def __init__(self, dut, divisor: int, skew: float = 0.0, pace_out: Pace | None = None):
        self.dut = dut
        self.capacity = 2 ** int(dut.FIFO_ADDR_WIDTH.value) + 1
        start_clock(dut.clk, CLOCK_NS)
        dut.rxd.value = 1
        self.source = Source(dut, dut.clk, "s", pace=Pace())
        self.sink = Sink(dut, dut.clk, "m", pace=pace_out or Pace())
        self.line_got: list[int] = []
        self.pulses = {"overrun": 0, "frame_error": 0}
        self.more = Event()
        self.to_send: deque[tuple[int, float]] = deque()
        self.far_busy = False
        self.far_sent: list[int] = []
        self.coverage = Coverage(
            f"uart_{self.capacity}",
            tx_level=("empty", "some", "full"),
            rx_level=("empty", "some", "full"),
            gap=("back_to_back", "gap"),
            byte_sent=("00", "ff", "other"),
            byte_received=("00", "ff", "other"),
            skew=("slow", "none", "fast"),
        )
        self.set_speed(divisor, skew)

    def set_speed(self, divisor: int, skew: float):
        """Set the speed of both ends; only while both lines are idle."""
        self.divisor = divisor
        self.dut.divisor.value = divisor
        self.bit_ns = (divisor + 1) * CLOCK_NS
        self.far_bit_ns = self.bit_ns * (1 + skew)
        self.coverage.hit("skew", "slow" if skew > 0 else "fast" if skew < 0 else "none")

    async def start(self):
        """Reset, check for unknown values, start drivers, monitors and the far end."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.txd, dut.s_ready, dut.m_valid, dut.tx_level, dut.rx_level)
        assert_known(dut.overrun, dut.frame_error)
        assert dut.txd.value == 1
        self.source.start()
        self.sink.start()
        cocotb.start_soon(self._far_receiver())
        cocotb.start_soon(self._far_sender())
        for name in self.pulses:
            cocotb.start_soon(self._count(name))
        for name in ("tx_level", "rx_level"):
            cocotb.start_soon(self._watch_level(name))

    async def _watch_level(self, name):
        """Collect coverage of a level whenever it changes."""
        level = getattr(self.dut, name)
        while True:
            kind = {0: "empty", self.capacity: "full"}.get(int(level.value), "some")
            self.coverage.hit(name, kind)
            await level.value_change
            await ReadOnly()

    async def _count(self, name):
        """Count the pulses of a signal."""
        while True:
            await RisingEdge(getattr(self.dut, name))
            self.pulses[name] += 1

    async def _far_receiver(self):
        """Receive what the core sends, at the far end's speed, and insist on the stop bit."""
        dut = self.dut
        while True:
            await FallingEdge(dut.txd)
            await Timer(self.far_bit_ns * 1.5, unit="ns", round_mode="round")
            byte = 0
            for bit in range(8):
                byte |= int(dut.txd.value) << bit
                await Timer(self.far_bit_ns, unit="ns", round_mode="round")
            assert dut.txd.value == 1, f"no stop bit after {byte:#04x}"
            self.line_got.append(byte)
            self.coverage.hit("byte_sent", {0: "00", 255: "ff"}.get(byte, "other"))

    async def far_frame(self, byte: int, stop: int = 1):
        """Drive one frame as the far end."""
        for level in (0, *(byte >> bit & 1 for bit in range(8)), stop):
            self.dut.rxd.value = level
            await Timer(self.far_bit_ns, unit="ns", round_mode="round")
        self.dut.rxd.value = 1

    async def _far_sender(self):
        while True:
            if not self.to_send:
                self.more.clear()
                await self.more.wait()
            byte, gap_bits = self.to_send.popleft()
            self.far_busy = True
            await self.far_frame(byte)
            self.far_sent.append(byte)
            self.far_busy = False
            if gap_bits:
                await Timer(self.far_bit_ns * gap_bits, unit="ns", round_mode="round")
            self.coverage.hit("gap", "gap" if gap_bits else "back_to_back")
            self.coverage.hit("byte_received", {0: "00", 255: "ff"}.get(byte, "other"))

    def line_put(self, *data: int):
        """Queue bytes that the far end sends, some with a pause behind them."""
        self.to_send.extend((one, random.choice((0, 0, random.random() * 3))) for one in data)
        self.more.set()

    def draw(self, count: int) -> list[int]:
        """Random bytes that like the extremes."""
        return [random.choice((0, 255, random.randrange(256))) for _ in range(count)]

    @property
    def bits_of_a_byte(self) -> int:
        """Cycles that one byte takes on the line, with room for the pauses."""
        return 15 * (self.divisor + 1)

    async def settle(self, count: int):
        """Wait until every byte went through in both directions, then compare."""
        done = (  # noqa: E731
            lambda: (
                self.source.idle
                and len(self.line_got) == len(self.source.sent)
                and not self.to_send
                and not self.far_busy
                and len(self.sink.words) == len(self.far_sent)
            )
        )
        limit = (count + 20) * self.bits_of_a_byte + 2000
        await until(self.dut.clk, done, limit, "the last byte", every=self.divisor + 1)
        assert self.line_got == [word for (word,) in self.source.sent]
        assert [word for (word,) in self.sink.words] == self.far_sent
        assert not any(self.pulses.values()), self.pulses
