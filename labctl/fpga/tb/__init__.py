"""Parts for testbenches that run inside the simulator: streams, coverage, bounded waits.

Nothing outside a testbench imports this package: it needs cocotb.
"""

from labctl.fpga.tb.checks import assert_known, reset, start_clock, until
from labctl.fpga.tb.coverage import Coverage
from labctl.fpga.tb.serial import SerialLine
from labctl.fpga.tb.strata import by_seed
from labctl.fpga.tb.streams import Pace, Sink, Source

__all__ = [
    "Coverage",
    "Pace",
    "SerialLine",
    "Sink",
    "Source",
    "assert_known",
    "by_seed",
    "reset",
    "start_clock",
    "until",
]
