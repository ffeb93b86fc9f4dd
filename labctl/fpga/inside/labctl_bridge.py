"""The test that is no test: it carries bytes between a core's serial line and a socket.

``labctl fpga bridge`` runs it. ``LABCTL_BRIDGE`` has, as JSON: ``channel`` and ``ready``,
descriptors of a stream socket and of a pipe that gets one byte when the core is out of reset;
``clock``, ``reset``, ``rxd``, ``txd``, names of ports; ``bit_cycles``; ``drive``; ``baud``, 0 for
as fast as it goes. It ends when the socket does.

The clock is the simulator's; Python runs at the edges of the line only. While the line is idle and
nobody writes, simulated time goes on slowly, so that an idle core costs next to nothing.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from itertools import groupby
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, Timer

_CLOCK_PS = 10_000
# Bits that pass between two looks at the socket.
_STEP_BITS = 16
_CHUNK = 16
# So many bits after the last byte the core has said what it had to say, or takes its time.
_QUIET_BITS = 4096
# How long an idle core stands still for each step, in seconds.
_REST_S = 0.02


class _Line:
    """The core's serial line, seen from outside."""

    def __init__(self, dut: Any, settings: dict[str, Any]) -> None:
        self.to = getattr(dut, settings["rxd"])
        self.back = getattr(dut, settings["txd"])
        self.bit_ps = settings["bit_cycles"] * _CLOCK_PS
        self.got = bytearray()
        self.to.value = 1

    async def send(self, data: bytes) -> None:
        levels = [one for byte in data for one in (0, *(byte >> i & 1 for i in range(8)), 1)]
        for level, several in groupby(levels):
            self.to.value = level
            await Timer(self.bit_ps * len(list(several)), "ps")

    async def receive(self) -> None:
        while True:
            await FallingEdge(self.back)
            await Timer(self.bit_ps * 3 // 2, "ps")
            byte = 0
            for bit in range(8):
                byte |= (self.back.value == 1) << bit
                await Timer(self.bit_ps, "ps")
            # What has no stop bit is no byte, as for any receiver.
            if self.back.value == 1:
                self.got.append(byte)


class _Pace:
    """Keeps simulated time from being ahead of the clock on the wall."""

    def __init__(self, baud: int) -> None:
        self.baud = baud
        self.began = time.monotonic()
        self.bits = 0.0

    def pass_bits(self, bits: float) -> float:
        """Count bits; return how many seconds the simulation is ahead."""
        if not self.baud:
            return 0.0
        self.bits += bits
        ahead = self.began + self.bits / self.baud - time.monotonic()
        if ahead < -0.1:
            # Slower than the line; what was lost is not made up for later in a burst.
            self.began -= ahead
        return max(0.0, ahead)


@cocotb.test()
async def bridge(dut: Any) -> None:
    """Carry bytes until the socket ends."""
    settings = json.loads(os.environ["LABCTL_BRIDGE"])
    channel = socket.socket(fileno=settings["channel"])
    clock = getattr(dut, settings["clock"])
    line = _Line(dut, settings)
    for name, value in settings["drive"].items():
        getattr(dut, name).value = value
    Clock(clock, _CLOCK_PS, "ps", impl="gpi").start(start_high=False)
    if settings["reset"]:
        reset = getattr(dut, settings["reset"])
        reset.value = 1
        await ClockCycles(clock, 4)
        reset.value = 0
    await ClockCycles(clock, 4)
    cocotb.start_soon(line.receive())
    os.write(settings["ready"], b"+")
    os.close(settings["ready"])
    await _carry(channel, line, _Pace(settings["baud"]))


async def _carry(channel: socket.socket, line: _Line, pace: _Pace) -> None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    quiet = _QUIET_BITS
    while True:
        wait = pace.pass_bits(0) or (_REST_S if quiet >= _QUIET_BITS else 0.0)
        if poll.poll(wait * 1000):
            data = channel.recv(_CHUNK)
            if not data:
                return
            quiet = 0
            await line.send(data)
            pace.pass_bits(10 * len(data))
        else:
            quiet += _STEP_BITS
            await Timer(line.bit_ps * _STEP_BITS, "ps")
            pace.pass_bits(_STEP_BITS)
        if line.got:
            quiet = 0
            # Blocks while the other side takes nothing: the core stands still, and nothing is lost.
            channel.sendall(bytes(line.got))
            line.got.clear()
