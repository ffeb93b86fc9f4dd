"""Clock, reset, the five channels and a cycle-exact scoreboard of the AXI4-Lite register file."""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until

OKAY, SLVERR = 0, 2


def merged(old: int, new: int, strobe: int) -> int:
    """A word with the bytes that the strobe names replaced."""
    mask = sum(0xFF << (8 * i) for i in range(4) if strobe >> i & 1)
    return (old & ~mask) | (new & mask)


class TB:
    """One register file. `_watch` predicts every answer from what went over the channels."""

    def __init__(self, dut, paced: bool = True):
        self.dut = dut
        self.controls, self.statuses = int(dut.CONTROLS.value), int(dut.STATUSES.value)
        self.words = 2 ** (int(dut.ADDR_WIDTH.value) - 2)
        start_clock(dut.clk)
        pace = Pace if paced else (lambda: Pace(0.0))
        axil = [dut, dut.clk]
        self.aw = Source(*axil, "s_axil_aw", pace=pace(), fields=["addr"], joint="")
        self.w = Source(*axil, "s_axil_w", pace=pace(), fields=["data", "strb"], joint="")
        self.ar = Source(*axil, "s_axil_ar", pace=pace(), fields=["addr"], joint="")
        self.b = Sink(*axil, "s_axil_b", pace=pace(), fields=["resp"], joint="")
        self.r = Sink(*axil, "s_axil_r", pace=pace(), fields=["resp", "data"], joint="")
        self.control = [0] * self.controls
        self.status = [0] * self.statuses
        self.expected_b: list[tuple[int, ...]] = []
        self.expected_r: list[tuple[int, ...]] = []
        self.coverage = Coverage(
            f"axil_regs_{self.controls}_{self.statuses}",
            strobe=range(16),
            order=("address_first", "data_first", "together"),
            write=(*range(self.controls), "status", "nowhere"),
            read=(*range(self.controls + self.statuses), "nowhere"),
            read_of_a_write=("same word",),
            response=("b_waits", "r_waits"),
        )
        self._drive_status()

    def _drive_status(self):
        self.status = [random.getrandbits(32) for _ in self.status]
        self.dut.status.value = sum(word << (32 * i) for i, word in enumerate(self.status))

    async def start(self):
        """Reset, check for unknown values, start channels and scoreboard."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.control, dut.s_axil_bvalid, dut.s_axil_rvalid)
        assert_known(dut.s_axil_awready, dut.s_axil_wready, dut.s_axil_arready)
        assert dut.control.value == 0
        for channel in (self.aw, self.w, self.ar, self.b, self.r):
            channel.start()
        cocotb.start_soon(self._watch())

    def write(self, word: int, data: int, strobe: int = 15):
        """Queue a write; the two lowest bits of the address do not matter."""
        self.aw.put(4 * word + random.randrange(4))
        self.w.put((data, strobe))

    def read(self, word: int):
        """Queue a read."""
        self.ar.put(4 * word + random.randrange(4))

    async def _watch(self):
        """A write counts from the edge before its response shows; a read sees what was before."""
        dut = self.dut
        addresses: deque[int] = deque()
        data: deque[tuple[int, int]] = deque()
        response_is_old = False
        while True:
            await RisingEdge(dut.clk)
            aw = dut.s_axil_awvalid.value == 1 and dut.s_axil_awready.value == 1
            w = dut.s_axil_wvalid.value == 1 and dut.s_axil_wready.value == 1
            b_valid, b_ready = dut.s_axil_bvalid.value == 1, dut.s_axil_bready.value == 1
            written = None
            if b_valid and not response_is_old:
                written = addresses.popleft()
                self._commit(written, *data.popleft())
            response_is_old = b_valid and not b_ready
            if response_is_old:
                self.coverage.hit("response", "b_waits")
            if dut.s_axil_rvalid.value == 1 and dut.s_axil_rready.value == 0:
                self.coverage.hit("response", "r_waits")
            value = sum(word << (32 * i) for i, word in enumerate(self.control))
            assert dut.control.value == value
            if dut.s_axil_arvalid.value == 1 and dut.s_axil_arready.value == 1:
                word = int(dut.s_axil_araddr.value) >> 2
                self._predict_read(word)
                if addresses and data and addresses[0] == word:
                    self.coverage.hit("read_of_a_write", "same word")
            waiting = len(addresses) - len(data)
            if aw and w:
                self.coverage.hit("order", "together")
            elif aw and waiting == 0:
                self.coverage.hit("order", "address_first")
            elif w and waiting == 0:
                self.coverage.hit("order", "data_first")
            if aw:
                addresses.append(int(dut.s_axil_awaddr.value) >> 2)
            if w:
                data.append((int(dut.s_axil_wdata.value), int(dut.s_axil_wstrb.value)))

    def _commit(self, word, value, strobe):
        fine = word < self.controls
        if fine:
            self.control[word] = merged(self.control[word], value, strobe)
            self.coverage.hit("strobe", strobe)
        there = "status" if word < self.controls + self.statuses else "nowhere"
        self.coverage.hit("write", word if fine else there)
        self.expected_b.append((OKAY if fine else SLVERR,))

    def _predict_read(self, word):
        known = self.control + self.status
        fine = word < len(known)
        self.coverage.hit("read", word if fine else "nowhere")
        self.expected_r.append((OKAY, known[word]) if fine else (SLVERR, 0))

    async def settle(self):
        """Wait until every request was answered, then compare the answers."""
        done = lambda: (  # noqa: E731
            self.aw.idle
            and self.w.idle
            and self.ar.idle
            and len(self.b.words) == len(self.aw.sent)
            and len(self.r.words) == len(self.ar.sent)
        )
        await until(self.dut.clk, done, 20_000, "the last answer", every=4)
        assert self.b.words == self.expected_b
        assert self.r.words == self.expected_r
        self._drive_status()
