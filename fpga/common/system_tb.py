"""What testbenches of systems behind a UART share: the far end of a line that has frames."""

import random

from frames import BAD_CRC, REFUSED, frame, split

from labctl.fpga.tb import SerialLine, assert_known, reset, start_clock

CLOCK_NS = 10
UNKNOWN, BAD_LENGTH = 2, 3
REFUSALS = {BAD_CRC: "crc", UNKNOWN: "unknown", BAD_LENGTH: "length"}
DISTURBANCES = ("nothing", "noise", "half a frame", "a break")


class SystemTB:
    """One system behind a UART. `ask` sends a request and takes its answer."""

    def __init__(self, dut):
        self.dut = dut
        bit_cycles = int(dut.DIVISOR.value) + 1
        self.bits_of_a_gap = (1 << int(dut.GAP_BITS.value)) / bit_cycles
        start_clock(dut.clk, CLOCK_NS)
        self.line = SerialLine(dut.rxd, dut.txd, bit_cycles * CLOCK_NS * 1000)
        self.seq = 0

    async def start(self):
        """Reset, check for unknown values, listen."""
        await reset(self.dut.clk, self.dut.rst)
        assert_known(self.dut.txd)
        assert self.dut.txd.value == 1
        self.line.start()

    async def ask(self, op: int, payload: bytes = b"", *, damaged: bool = False):
        """Send a request and return the answer's OP and payload."""
        self.seq = random.choice((0, 255, 0xA5, random.randrange(256)))
        data = frame(self.seq, op, payload)
        at = 0
        if damaged:
            # Not in the length: the design would wait for what does not come.
            at = random.choice((1, 2, *range(4, len(data))))
            data = data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
        await self.line.send(data)
        head = await self.line.receive(4, 2000)
        rest = await self.line.receive(head[3] + 2, 20 * (head[3] + 2) + 2000)
        answer, left = split(head + rest)
        assert answer is not None, f"no frame: {(head + rest).hex()}"
        assert not left
        seq, got_op, body = answer
        if at != 1:
            assert seq == self.seq
        return got_op, body

    async def refused(self, reason: int, op: int, payload: bytes = b"", *, damaged: bool = False):
        """Send a request that has to be refused for a reason."""
        answer = await self.ask(op, payload, damaged=damaged)
        assert answer == (REFUSED, bytes((reason,))), answer
        self.coverage.hit("refused", REFUSALS[reason])

    async def disturb(self, kind: str):
        """Put on the line what is no request; a pause behind it makes the line work again."""
        if kind == "noise":
            await self.line.send(bytes(random.choices((0, 255, 90, 165), k=random.randint(1, 4))))
        elif kind == "half a frame":
            data = frame(1, 2, random.randbytes(8))
            await self.line.send(data[: random.randint(1, len(data) - 1)])
        elif kind == "a break":
            await self.line.send_low(random.choice((0.4, 1, 15, 30)))
        if kind != "nothing":
            await self.line.pause(self.bits_of_a_gap + 20)
            assert not self.line.got, f"an answer to {kind}"
        self.coverage.hit("before", kind)
