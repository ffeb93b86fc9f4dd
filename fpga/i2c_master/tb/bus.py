"""An I2C bus in Python: two wired lines, what hangs on them, and a record of what was said.

Everybody pulls a line down or lets it go; the level is 1 where nobody pulls (NXP UM10204, 3.1.1).
"""

import random
from collections.abc import Callable

import cocotb
from cocotb.triggers import Event, First, ReadOnly, Timer
from cocotb.utils import get_sim_time

Listener = Callable[[int, int, int, int], None]


class Bus:
    """Both lines, with the design on them; `listeners` hear each change, before and after."""

    def __init__(self, dut):
        self.dut = dut
        self.pulls: dict[str, tuple[int, int]] = {}
        self.scl = self.sda = 1
        self.listeners: list[Listener] = []
        self.changed = Event()
        dut.scl_i.value = dut.sda_i.value = 1

    def start(self):
        """Begin to carry what the design does."""
        cocotb.start_soon(self._follow())

    async def _follow(self):
        scl, sda = self.dut.scl_o, self.dut.sda_o
        while True:
            await First(scl.value_change, sda.value_change)
            await ReadOnly()
            levels = int(scl.value), int(sda.value)
            await Timer(1, "ns")  # the way along the line
            self.set("design", *levels)

    def set(self, who: str, scl: int, sda: int):
        """Pull (0) or let go (1)."""
        self.pulls[who] = scl, sda
        before = self.scl, self.sda
        self.scl = min(one for one, _ in self.pulls.values())
        self.sda = min(one for _, one in self.pulls.values())
        if (self.scl, self.sda) != before:
            self.dut.scl_i.value, self.dut.sda_i.value = self.scl, self.sda
            for listener in self.listeners:
                listener(*before, self.scl, self.sda)
            self.changed.set()


class Record:
    """What was said on the bus: "S", (byte, nack), "P"; and the shortest times of SCL."""

    def __init__(self, bus: Bus):
        self.said: list[object] = []
        self.bits: list[int] = []
        self.shortest = {0: float("inf"), 1: float("inf")}
        self._since = 0.0
        bus.listeners.append(self._hear)

    def _hear(self, scl_before, sda_before, scl, sda):
        now = get_sim_time("ps")
        if scl != scl_before:
            if self.said and self.said[-1] != "P":
                self.shortest[scl_before] = min(self.shortest[scl_before], now - self._since)
            self._since = now
        if scl and scl_before and sda != sda_before:
            assert len(self.bits) in (0, 1), f"START or STOP inside a byte: {self.bits}"
            self.said.append("P" if sda else "S")
            self.bits.clear()
        elif scl and not scl_before:
            self.bits.append(sda)
            if len(self.bits) == 9:
                byte = int("".join(map(str, self.bits[:8])), 2)
                self.said.append((byte, self.bits[8]))
                self.bits.clear()


class Slave:
    """A slave with 256 bytes of memory: writes give it an address and data, reads give data.

    Args:
        bus: where it hangs.
        address: its seven bits.
        hold: how it stretches the clock: called after each bit, gives ps, or 0.
    """

    def __init__(self, bus: Bus, address: int, hold: Callable[[], int] = lambda: 0):
        self.bus = bus
        self.address = address
        self.hold = hold
        self.memory = bytearray(random.randbytes(256))
        self.refuse_at: int | None = None  # the byte of a write that it does not acknowledge
        self.pointer = 0
        self.stretched = 0
        self._pull = (1, 1)
        self._idle()
        bus.listeners.append(self._hear)

    def _idle(self):
        self.state = "idle"
        self._bits: list[int] = []
        self._out: list[int] = []
        self._count = 0

    def _set(self, scl: int, sda: int):
        self._pull = scl, sda
        self.bus.set("slave", scl, sda)

    def _hear(self, scl_before, sda_before, scl, sda):
        if scl and scl_before and sda != sda_before:
            self._idle()
            if not sda:
                self.state = "address"
        elif scl and not scl_before:
            self._bits.append(sda)
        elif scl_before and not scl and self.state != "idle":
            self._fall()

    def _fall(self):
        """SCL fell: say the next bit, and maybe hold SCL."""
        count = len(self._bits)
        sda = 1
        if self.state == "read" and count == 9:
            if self._bits[8]:
                self._idle()
            else:
                self.pointer = (self.pointer + 1) % 256
                self._bits.clear()
                count = 0
        elif count == 9:
            self._bits.clear()
            count = 0
        if self.state == "read" and count < 8:
            sda = self.memory[self.pointer] >> (7 - count) & 1
        elif self.state in ("address", "write") and count == 8:
            sda = self._byte(int("".join(map(str, self._bits)), 2))
        ps = self.hold() if self.state != "idle" or sda == 0 else 0
        self._set(0 if ps else 1, sda)
        if ps:
            self.stretched += 1
            cocotb.start_soon(self._let_go(ps, sda))

    async def _let_go(self, ps: int, sda: int):
        await Timer(ps, "ps")
        self._set(1, sda)

    def _byte(self, byte: int) -> int:
        """Take a byte; returns the ACK bit."""
        if self.state == "address":
            if byte >> 1 != self.address:
                self._idle()
                return 1
            self.state = "read" if byte & 1 else "write"
            self._count = 0
            if byte & 1:
                # The ACK of the address brings the pointer on, as that of each byte does.
                self.pointer = (self.pointer - 1) % 256
            return 0
        if self._count == self.refuse_at:
            self._idle()
            return 1
        if self._count == 0:
            self.pointer = byte
        else:
            self.memory[self.pointer] = byte
            self.pointer = (self.pointer + 1) % 256
        self._count += 1
        return 0


class OtherMaster:
    """A second master that begins with the design and sends one byte, then STOP.

    Attributes:
        won: whether it had the bus to itself at the end.
    """

    def __init__(self, bus: Bus, half_ps: int):
        self.bus = bus
        self.half_ps = half_ps
        self.won: bool | None = None

    def _set(self, scl: int, sda: int):
        self.bus.set("other", scl, sda)

    async def _until(self, condition: Callable[[], bool]):
        for _ in range(200):
            if condition():
                return
            self.bus.changed.clear()
            late = Timer(self.half_ps * 50, "ps")
            assert await First(self.bus.changed.wait(), late) is not late, "the bus stands still"
        raise AssertionError("the bus does not do what was waited for")

    async def send(self, byte: int):
        """Wait for a START, join it, send a byte and its ACK bit, then STOP."""
        bus = self.bus
        await self._until(lambda: bus.scl == 1 and bus.sda == 0)
        self._set(1, 0)
        await self._until(lambda: bus.scl == 0)
        for level in (*(byte >> i & 1 for i in range(7, -1, -1)), 1):
            self._set(0, level)
            await Timer(self.half_ps, "ps")
            self._set(1, level)
            await self._until(lambda: bus.scl == 1)
            if level and not bus.sda:
                self.won = False
                self._set(1, 1)
                return
            # The high time ends with the first master that ends it.
            late = Timer(self.half_ps, "ps")
            bus.changed.clear()
            while bus.scl and await First(bus.changed.wait(), late) is not late:
                bus.changed.clear()
        self.won = True
        self._set(0, 0)
        await Timer(self.half_ps, "ps")
        self._set(1, 0)
        await self._until(lambda: bus.scl == 1)
        await Timer(self.half_ps, "ps")
        self._set(1, 1)
