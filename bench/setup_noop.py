"""A set-up of boxes that are right already: how long until labctl says so.

Twenty items on one and on twenty light boxes; beside the floor (`floor.py`: one connection and one
script of the very same questions for each host), pyinfra and ansible-core, on the same boxes in
the same run. Then one box at 50 ms round-trip time with 5, 20 and 80 items.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median_low

from boxes import Fleet, fleet
from delay import DelayProxy, delayed
from harness import (
    Aim,
    Contender,
    Report,
    Say,
    Times,
    argument_parser,
    interleave,
    positive,
    run_bench,
)
from peers import Ansible, Pyinfra
from processes import run
from workload import SIZES, labctl_profile, make_workload

from labctl.errors import LabctlError
from labctl.inventory.resolve import ResolvedHost
from labctl.setup.facts import collect_script
from labctl.setup.plan import all_facts, arrange
from labctl.setup.profile import build_items
from labctl.transport.script import assemble

ITEMS = 20
ROUND_TRIP_S = 0.050
AIMS = {
    "ours / floor": Aim(2.0),
    "pyinfra / ours": Aim(8.0, at_most=False),
    "ansible-core / ours": Aim(40.0, at_most=False),
    "round trips of a box": Aim(1.0),
    "turns at 50 ms, 80 / 5 items": Aim(1.0),
    "time at 50 ms, 80 / 5 items": Aim(1.25),
}
_FAR_INVENTORY = """\
version: 1
hosts:
  far:
    address: {proxy.address}
    port: {proxy.port}
    user: {host.user}
    identity_files: ["{host.identity_files[0]}"]
    host_keys: {keys}
"""


@dataclass
class Ours:
    """``labctl setup`` on machines that are right.

    Attributes:
        fleet: The boxes.
        words: Which of them, and options.
        expected: Items that must be unchanged, on all machines together.
        inventory: Another inventory than the fleet's.
        round_trips: The most scripts that a box was sent.
    """

    fleet: Fleet
    words: Sequence[str]
    expected: int
    inventory: Path | None = None
    round_trips: int = field(default=0)

    def run(self) -> float:
        """Run it and return the seconds.

        Raises:
            LabctlError: It changed something, or did not look at everything.
        """
        ended = self.fleet.setup(*self.words, inventory=self.inventory)
        told = json.loads(ended.output)
        summary = told["summary"]
        if summary["changed"] or summary["failed"] or summary["unchanged"] != self.expected:
            raise LabctlError(f"was to change nothing: {summary}", thing="labctl setup")
        self.round_trips = max(host["round_trips"] for host in told["hosts"])
        return ended.seconds


def floor(fleet: Fleet, hosts: Sequence[ResolvedHost], profile: str) -> Contender:
    """Return the floor for ``hosts``: the script that labctl would send, sent by `floor.py`."""
    items = arrange(build_items([profile], {}, {}))
    job = {
        "script": assemble(collect_script(all_facts(items))).text,
        "hosts": [
            {
                "address": host.hostname,
                "port": host.port,
                "user": host.user,
                "key": host.identity_files[0],
                "host_keys": host.host_keys,
            }
            for host in hosts
        ],
    }
    path = fleet.folder / f"floor-{len(hosts)}.json"
    path.write_text(json.dumps(job))
    command = [sys.executable, str(Path(__file__).with_name("floor.py")), str(path)]
    return Contender("floor", lambda: run(command).seconds)


def converge(fleet: Fleet, work: str, say: Say) -> None:
    """Make the boxes right, once."""
    say(f"setting {len(fleet.hosts)} boxes up (this installs python3 on them, for Ansible)")
    fleet.write_profile(work)
    summary = json.loads(fleet.setup("@fleet").output)["summary"]
    say(f"  changed {summary['changed']}, unchanged {summary['unchanged']}")


def compare(
    fleet: Fleet, hosts: Sequence[ResolvedHost], ours: Ours, options: argparse.Namespace, say: Say
) -> dict[str, Times]:
    """Time everybody on ``hosts``, which are made right for everybody first."""
    say(f"{len(hosts)} box{'es' if len(hosts) > 1 else ''}, {ITEMS} items, seconds")
    contenders = [Contender("ours", ours.run), floor(fleet, hosts, "bench")]
    if options.peers:
        work = make_workload(ITEMS, public_key(fleet))
        for name, kind, most in (
            ("pyinfra", Pyinfra, options.runs),
            ("ansible-core", Ansible, options.ansible_runs),
        ):
            if most == 0:
                continue
            peer = kind.prepare(fleet, hosts, work)
            peer.converge()
            contenders.append(Contender(name, peer.run, most))
    for contender in contenders[:2]:
        contender.run()  # not timed: caches are warm for the peers, which have just run
    return interleave(contenders, options.runs, say)


def far_away(fleet: Fleet, runs: int, say: Say) -> dict[str, object]:
    """Time one box at 50 ms round-trip time with set-ups of several sizes."""
    host = fleet.hosts[0]
    key = public_key(fleet)
    for items in SIZES:
        fleet.write_profile(labctl_profile(make_workload(items, key)), f"bench{items}")
    fleet.setup(host.name, "--profile", f"bench{max(SIZES)}")  # it holds the smaller ones
    say(f"1 box at {ROUND_TRIP_S * 1000:.0f} ms round-trip time, seconds")
    with delayed((host.hostname, host.port), ROUND_TRIP_S) as proxy:
        path = fleet.folder / "far.yaml"
        keys = json.dumps(list(host.host_keys))
        path.write_text(_FAR_INVENTORY.format(proxy=proxy, host=host, keys=keys))
        turns: dict[str, list[int]] = {}
        contenders = [
            Contender(
                f"{items} items",
                partial(
                    _far_run,
                    Ours(fleet, ("far", "--profile", f"bench{items}"), items, path),
                    proxy,
                    turns,
                    f"{items} items",
                ),
            )
            for items in SIZES
        ]
        times = interleave(contenders, runs, say)
    return {
        name: {"seconds": round(taken.median, 4), "turns": median_low(turns[name])}
        for name, taken in times.items()
    }


def _far_run(ours: Ours, proxy: DelayProxy, turns: dict[str, list[int]], name: str) -> float:
    before = len(proxy.turns)
    seconds = ours.run()
    turns.setdefault(name, []).append(sum(proxy.turns[before:]))
    return seconds


def public_key(fleet: Fleet) -> str:
    """Return a public key for the users of the benchmark: the one that opens the boxes."""
    return Path(fleet.hosts[0].identity_files[0] + ".pub").read_text().strip()


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run the whole benchmark."""
    say(f"starting {options.hosts} light boxes")
    with fleet(options.hosts, keep=options.keep) as boxes:
        converge(boxes, labctl_profile(make_workload(ITEMS, public_key(boxes))), say)
        one = Ours(boxes, (boxes.hosts[0].name,), ITEMS)
        all_ = Ours(boxes, ("@fleet",), ITEMS * len(boxes.hosts))
        single = compare(boxes, boxes.hosts[:1], one, options, say)
        many = compare(boxes, boxes.hosts, all_, options, say)
        far: dict[str, object] = far_away(boxes, options.runs, say)
    return build_report(options, many, single, far, max(one.round_trips, all_.round_trips))


def build_report(
    options: argparse.Namespace,
    many: dict[str, Times],
    single: dict[str, Times],
    far: dict[str, object],
    round_trips: int,
) -> Report:
    """Put the figures together."""
    report = Report(
        bench="setup_noop",
        unit=f"s, {options.hosts} boxes, {ITEMS} items",
        ours=many["ours"].median,
        floor=many["floor"].median,
        peers={name: t.median for name, t in many.items() if name not in ("ours", "floor")},
    )
    for label, times in (("", many), (", 1 box", single)):
        ours = times["ours"].median
        report.ratios["ours / floor" + label] = ours / times["floor"].median
        for name in report.peers:
            report.ratios[f"{name} / ours{label}"] = times[name].median / ours
    report.ratios["round trips of a box"] = round_trips
    few, lots = far[f"{min(SIZES)} items"], far[f"{max(SIZES)} items"]
    assert isinstance(few, dict) and isinstance(lots, dict)
    report.ratios["turns at 50 ms, 80 / 5 items"] = lots["turns"] / few["turns"]
    report.ratios["time at 50 ms, 80 / 5 items"] = lots["seconds"] / few["seconds"]
    report.aims = {name: aim for name, aim in AIMS.items() if name in report.ratios}
    report.details = {
        "boxes_1": {name: round(t.median, 4) for name, t in single.items()},
        f"boxes_{options.hosts}_best": {name: round(t.best, 4) for name, t in many.items()},
        "round_trips_per_host": round_trips,
        "at_50_ms": far,
    }
    return report


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser(__doc__.splitlines()[0], runs=5)
    parser.add_argument("--hosts", type=positive, default=20, help="boxes (default %(default)s)")
    parser.add_argument(
        "--ansible-runs",
        type=int,
        choices=range(100),
        default=2,
        metavar="N",
        help="it takes minutes for twenty boxes; 0 leaves it out (default 2)",
    )
    parser.add_argument(
        "--no-peers", dest="peers", action="store_false", help="ours and the floor only"
    )
    parser.add_argument("--keep", action="store_true", help="leave the boxes for the next run")
    options = parser.parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
