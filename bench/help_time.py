"""How long ``labctl --help`` takes, beside a Python that does nothing and the help of the peers."""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench
from processes import labctl, peer, run

AIMS = {"ours": Aim(150.0)}


def timed(command: list[str]) -> float:
    """Run ``command`` and return the milliseconds."""
    return run(command, deadline=60).seconds * 1000


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time everybody's help."""
    commands = {
        "ours": [labctl(), "--help"],
        "floor": [sys.executable, "-c", "pass"],
        "pyinfra": [peer("pyinfra"), "--help"] if options.peers else [],
        "ansible-core": [peer("ansible"), "--version"] if options.peers else [],
    }
    contenders = [
        Contender(name, partial(timed, words)) for name, words in commands.items() if words
    ]
    for contender in contenders:
        contender.run()  # not timed: it compiles and caches what is imported
    times = interleave(contenders, options.runs, say)
    ours = times["ours"].median
    peers = {name: taken.median for name, taken in times.items() if name not in ("ours", "floor")}
    return Report(
        bench="help_time",
        unit="ms",
        ours=ours,
        floor=times["floor"].median,
        peers=peers,
        ratios={"ours / floor": ours / times["floor"].median}
        | {f"{name} / ours": value / ours for name, value in peers.items()},
        aims=AIMS,
        details={
            "best": {name: round(several.best, 1) for name, several in times.items()},
            "deviation": round(statistics.pstdev(times["ours"].values), 1),
        },
    )


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser(__doc__ or "", runs=15)
    parser.add_argument(
        "--no-peers", dest="peers", action="store_false", help="ours and the floor only"
    )
    options = parser.parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
