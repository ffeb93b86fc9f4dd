"""Clock, reset, the bus, driver and scoreboard of the I2C master."""

import random

from bus import Bus, OtherMaster, Record, Slave
from cocotb.triggers import RisingEdge

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until

CLOCK_NS = 20
ADDRESS = 0x50
FIELDS = ("start", "byte", "read", "stop", "nack", "data")


class TB:
    """One master, a slave with memory at its bus, and a record of what was said."""

    def __init__(self, dut, divisor: int = 3, stretch: float = 0.0):
        self.dut = dut
        self.divisor = divisor
        self.quarter_ps = (divisor + 1) * CLOCK_NS * 1000
        start_clock(dut.clk, CLOCK_NS)
        dut.divisor.value = divisor
        self.source = Source(dut, dut.clk, "s", FIELDS, pace=Pace(0.3))
        self.sink = Sink(dut, dut.clk, "m", ("data", "nack", "lost"), pace=Pace(0.3))
        self.bus = Bus(dut)
        self.record = Record(self.bus)
        self.stretch = stretch
        self.slave = Slave(self.bus, ADDRESS, self._hold)
        self.coverage = Coverage(
            "i2c_master",
            begin=("start", "repeated start"),
            transfer=("write", "read"),
            length=("one", "several"),
            answer=("acknowledged", "address refused", "data refused"),
            stretched=("no", "yes"),
            arbitration=("won", "lost"),
        )

    def _hold(self) -> int:
        """How long the slave holds SCL low, beyond the master's own low time."""
        if random.random() >= self.stretch:
            return 0
        return self.quarter_ps * random.choice((3, 5, 20)) + random.randrange(CLOCK_NS * 1000)

    def other(self) -> OtherMaster:
        """Return a second master of about the same speed."""
        return OtherMaster(self.bus, 2 * self.quarter_ps + random.randrange(-15, 15) * 1000)

    async def start(self):
        """Reset, check for unknown values, start drivers and the bus."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.scl_o, dut.sda_o, dut.s_ready, dut.m_valid, dut.owner, dut.busy)
        assert dut.scl_o.value == 1
        assert dut.sda_o.value == 1
        self.source.start()
        self.sink.start()
        self.bus.start()

    async def command(self, *, start=0, data=None, read=0, stop=0, nack=0) -> tuple[int, int, int]:
        """Give one command; returns the byte, whether it was not acknowledged, whether lost."""
        before = len(self.sink.words)
        self.source.put((start, int(data is not None or read), read, stop, nack, data or 0))
        done = lambda: len(self.sink.words) > before  # noqa: E731
        limit = 60 * (self.divisor + 1) * (30 if self.stretch else 2) + 5000
        await until(self.dut.clk, done, limit, "the answer to a command", every=8)
        return self.sink.words[-1]

    async def write(self, pointer: int, data: bytes, *, stop: int = 1, again: bool = False):
        """Write bytes to the slave's memory; compared with it and with the record."""
        begin = len(self.record.said)
        words = (ADDRESS << 1, pointer, *data)
        for n, byte in enumerate(words):
            last = n == len(words) - 1
            answer = await self.command(start=int(n == 0), data=byte, stop=int(last and stop))
            assert answer[1:] == (0, 0), f"byte {n}: {answer}"
        want = ["S", *((byte, 0) for byte in words), *(["P"] if stop else [])]
        await self._settle()
        assert self.record.said[begin:] == want
        stored = [self.slave.memory[(pointer + i) % 256] for i in range(len(data))]
        assert bytes(stored) == data
        self._cover("write", len(data), again)

    async def read(self, count: int, *, again: bool = False) -> bytes:
        """Read bytes from where the slave's pointer is; compared with its memory."""
        begin = len(self.record.said)
        pointer = self.slave.pointer
        answer = await self.command(start=1, data=ADDRESS << 1 | 1)
        assert answer[1:] == (0, 0)
        got = []
        for n in range(count):
            last = int(n == count - 1)
            byte, _, lost = await self.command(read=1, nack=last, stop=last)
            assert not lost
            got.append(byte)
        await self._settle()
        want = [self.slave.memory[(pointer + n) % 256] for n in range(count)]
        assert got == want
        said = [(byte, int(n == count - 1)) for n, byte in enumerate(want)]
        assert self.record.said[begin:] == ["S", (ADDRESS << 1 | 1, 0), *said, "P"]
        self._cover("read", count, again)
        return bytes(got)

    async def _settle(self):
        """The master sees the lines two cycles late, and a STOP is seen after its answer."""
        for _ in range(4):
            await RisingEdge(self.dut.clk)

    def _cover(self, kind: str, count: int, again: bool):
        self.coverage.hit("transfer", kind)
        self.coverage.hit("length", "one" if count == 1 else "several")
        self.coverage.hit("begin", "repeated start" if again else "start")
        self.coverage.hit("answer", "acknowledged")
        self.coverage.hit("stretched", "yes" if self.slave.stretched else "no")
        self.slave.stretched = 0

    def check_times(self):
        """SCL was never shorter low or high than half a bit, as the bus saw it."""
        for level, ps in self.record.shortest.items():
            assert ps >= 2 * self.quarter_ps - 1000, f"SCL was {level} for {ps} ps only"
