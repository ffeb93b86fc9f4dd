"""Clock, reset, bounded waits and the check for unknown values."""

from collections.abc import Callable
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge


def start_clock(clk: Any, period_ns: float = 10) -> Clock:
    """Start a clock that begins low.

    The GPI drives it, not Python: about four times the edges in a second.
    """
    # In whole picoseconds: 16.214 ns as a float is not a multiple of the simulator's step.
    clock = Clock(clk, round(period_ns * 1000), unit="ps", impl="gpi")
    clock.start(start_high=False)
    return clock


async def reset(clk: Any, rst: Any, cycles: int = 3) -> None:
    """Hold a synchronous reset for some cycles; returns on the first edge without it."""
    rst.value = 1
    await ClockCycles(clk, cycles)
    rst.value = 0
    await RisingEdge(clk)


def assert_known(*handles: Any) -> None:
    """Insist that signals hold no X and no Z.

    Raises:
        AssertionError: names the signals that do.
    """
    bad = [f"{one._name}={one.value}" for one in handles if not one.value.is_resolvable]
    assert not bad, f"unknown after reset: {', '.join(bad)}"


async def until(
    clk: Any, condition: Callable[[], bool], cycles: int, what: str, every: int = 1
) -> None:
    """Wait for a condition for at most so many cycles, looking at it every so many rising edges.

    Raises:
        AssertionError: it did not come; says what was waited for.
    """
    for _ in range(-(-cycles // every)):
        if condition():
            return
        await (RisingEdge(clk) if every == 1 else ClockCycles(clk, every))
    assert condition(), f"waited {cycles} cycles for {what}"
