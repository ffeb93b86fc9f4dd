"""The console engine beside labgrid, pytest-embedded and pexpect: every figure, in one table.

Runs `console_noise`, `console_throughput`, `console_latency` and `console_listeners`; each of them
can be run alone.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import console_latency
import console_listeners
import console_noise
import console_throughput
from console_peers import python_of
from harness import Report, Say, argument_parser, run_bench

PARTS = {
    "noise": console_noise,
    "throughput": console_throughput,
    "latency": console_latency,
    "listeners": console_listeners,
}
AIMS = {f"{name}: {aim}": value for name, part in PARTS.items() for aim, value in part.AIMS.items()}


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run the parts one after the other: they would disturb each other."""
    for peer in ("labgrid", "pytest-embedded"):
        python_of(peer)
    reports = {}
    for name in options.only or PARTS:
        say(f"{name}:")
        reports[name] = PARTS[name].measure(options, say)
    ratios: dict[str, float] = {}
    peers: dict[str, float] = {}
    for name, report in reports.items():
        ratios[f"{name}: ours"] = report.ours
        ratios |= {f"{name}: {key}": value for key, value in report.ratios.items()}
        peers |= {f"{name}: {report.unit}, {who}": value for who, value in report.peers.items()}
    aims = {key: aim for key, aim in AIMS.items() if key.partition(":")[0] in reports}
    held = sum(aim.holds(ratios[key]) for key, aim in aims.items())
    return Report(
        bench="console",
        unit=f"aims that hold, of {len(aims)}",
        ours=float(held),
        peers=peers,
        ratios=ratios,
        aims=aims,
        details={name: report.details for name, report in reports.items()},
    )


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser((__doc__ or "").partition("\n")[0], runs=3)
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="run this part (may be repeated)"
    )
    return run_bench(parser.parse_args(), partial(measure, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
