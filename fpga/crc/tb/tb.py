"""Clock, reset, driver and scoreboard of the CRC core."""

import random

from cocotb.triggers import RisingEdge
from golden import crc

from labctl.fpga.tb import Coverage, Pace, assert_known, reset, start_clock


class TB:
    """One CRC core; `send` drives a message and checks the result after each word of it."""

    def __init__(self, dut):
        self.dut = dut
        self.step = int(dut.DATA_WIDTH.value) // 8
        names = ("WIDTH", "POLY", "INIT", "XOROUT", "REFIN", "REFOUT")
        self.model = {name.lower(): int(getattr(dut, name).value) for name in names}
        start_clock(dut.clk)
        dut.clear.value = dut.s_valid.value = dut.s_data.value = 0
        self.coverage = Coverage(
            f"crc_{'_'.join(f'{value:x}' for value in self.model.values())}_{8 * self.step}",
            begin=("clear_before", "clear_with_first"),
            length=("empty", "one", "some", "many"),
            content=("zeros", "ones", "random"),
            pauses=("none", "some"),
            top_bit=(0, 1),
        )

    async def start(self):
        """Reset; the check is that of an empty message."""
        await reset(self.dut.clk, self.dut.rst)
        assert_known(self.dut.check)
        assert self.dut.check.value == crc(b"", **self.model)

    async def send(self, data: bytes, pace: Pace, *, clear_before: bool):
        """Send a message. `data` is a whole number of words, the first byte in the top bits."""
        dut = self.dut
        pauses = 0
        if clear_before or not data:
            dut.clear.value = 1
            await RisingEdge(dut.clk)
            dut.clear.value = 0
            await RisingEdge(dut.clk)
            assert dut.check.value == crc(b"", **self.model)
            clear_before = True
        for at in range(0, len(data), self.step):
            while not pace.go():
                pauses += 1
                dut.s_data.value = random.getrandbits(8 * self.step)  # not valid: not counted
                await RisingEdge(dut.clk)
                assert dut.check.value == crc(data[:at], **self.model) or not (at or clear_before)
            dut.s_valid.value = 1
            dut.clear.value = int(at == 0 and not clear_before)
            dut.s_data.value = int.from_bytes(data[at : at + self.step], "big")
            await RisingEdge(dut.clk)
            dut.s_valid.value = dut.clear.value = 0
        await RisingEdge(dut.clk)
        got = int(dut.check.value)
        assert got == crc(data, **self.model), f"{got:#x} for {data.hex()}"
        self.coverage.hit("begin", "clear_before" if clear_before else "clear_with_first")
        words = len(data) // self.step
        length = {0: "empty", 1: "one"}.get(words, "some" if words < 16 else "many")
        self.coverage.hit("length", length)
        self.coverage.hit("pauses", "some" if pauses else "none")
        self.coverage.hit("top_bit", got >> (self.model["width"] - 1))
        kinds = {b"\x00": "zeros", b"\xff": "ones"}
        self.coverage.hit(
            "content", kinds.get(b"".join({data[i : i + 1] for i in range(len(data))}), "random")
        )
