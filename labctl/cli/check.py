"""``labctl check``: is it healthy?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, collector_option, complete_hosts, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.health.report import HostReport
    from labctl.health.rules_file import Rule

EPILOG = """\b
Examples:
  labctl check                        this machine
  labctl check @gpu                   all hosts with the tag gpu, at once
  labctl check gpu1 --verbose         also what is fine to know, and what could not be said
  labctl check gpu1 --json --facts    everything that was read, for programs
  labctl check @gpu --nagios          as a plug-in of Nagios, with its exit codes
  labctl check @gpu --watch 60        again each minute; what changes is told
  labctl check @gpu --html >page.html for a person who has no terminal
  labctl check @gpu --needs ml.yaml   also against what an environment needs
  labctl check gpu1 --record DIR      keep the raw output, names and ids masked
  labctl check --replay DIR           the same rules on a recording
  labctl check --replay FILE          or on what nvidia-smi -q -x or dmesg printed

Exit codes: 0 nothing found, 1 a warning or worse (or an answer cut off), 2 bad
usage or inventory, 3 a host was not reached, 130 interrupted. With --nagios: 0
OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""

FORMATS = ("prometheus", "nagios", "junit", "html")


@click.command(epilog=EPILOG)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option("-v", "--verbose", is_flag=True, help="Show information and what was not judged.")
@click.option("--facts", is_flag=True, help="With --json: the facts as well.")
@click.option("--prometheus", is_flag=True, help="Print metrics in Prometheus' text format.")
@click.option("--nagios", is_flag=True, help="Print and exit as a plug-in of Nagios.")
@click.option("--junit", is_flag=True, help="Print JUnit's XML.")
@click.option("--html", is_flag=True, help="Print one page that needs nothing else.")
@click.option(
    "--watch",
    type=click.FloatRange(0.1, 86400),
    metavar="SECONDS",
    help="Check again and again, and tell what changes.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.5, 600),
    default=30.0,
    metavar="SECONDS",
    show_default=True,
    help="What a host may take in all.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 500),
    default=100,
    show_default=True,
    help="Hosts at once.",
)
@click.option("--accept-new", is_flag=True, help="Accept unknown host keys (a changed one never).")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="DIR", help="Keep the raw output there."
)
@click.option(
    "--replay",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Check a recording, or a file with a tool's output, instead of hosts.",
)
@click.option(
    "--needs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Check against what an environment needs, too (docs/check.md).",
)
@collector_option
@json_option
@click.pass_obj
def check(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    verbose: bool,
    facts: bool,
    timeout: float,
    jobs: int,
    accept_new: bool,
    watch: float | None,
    record: Path | None,
    replay: Path | None,
    collector: str,
    needs: Path | None,
    as_json: bool,
    **formats: bool,
) -> int:
    """Check HOSTS (names, globs, @tag, !exclusion, all); this machine if none is named."""
    chosen = [name for name in FORMATS if formats[name]] + (["json"] if as_json else [])
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other")
    if replay and (hosts or record):
        raise UsageError("a recording has its own hosts", thing="--replay")
    if watch and (chosen or record or replay):
        raise UsageError("it goes with hosts alone, and prints for people", thing="--watch")
    from labctl.health.rules_file import all_rules

    rules = all_rules()
    if needs:
        from labctl.health.needs import needs as needed

        rules = [*rules, *needed(needs)]
    begun = time.monotonic()
    live = partial(
        _live, app, hosts, rules, timeout=timeout, jobs=jobs, accept_new=accept_new,
        collector=collector,
    )  # fmt: skip
    if watch:
        from labctl.cli.check_output import watch_for_ever

        watch_for_ever(live, every=watch, verbose=verbose)
    if replay:
        from labctl.health.recording import replay as play

        stream = play(replay, rules)
    else:
        stream = live()
    from labctl.cli.check_output import print_whole, watch_stream

    reports = list(stream) if chosen else watch_stream(stream, verbose=verbose)
    if record:
        from labctl.health.recording import record as keep

        written = keep(reports, record)
        count = f"{len(written)} host{'' if len(written) == 1 else 's'}"
        click.echo(f"{count} recorded in {record}; read it before you pass it on", err=True)
    if not chosen:
        return int(exit_code(reports))
    seconds = time.monotonic() - begun
    return print_whole(chosen[0], reports, rules, seconds=seconds, facts=facts)


def _live(
    app: AppContext,
    hosts: Sequence[str],
    rules: Sequence[Rule],
    *,
    timeout: float,
    jobs: int,
    accept_new: bool,
    collector: str,
) -> Iterator[HostReport]:
    from labctl.transport.machines import LOCAL, choose, connect_early

    machines = choose(hosts or [LOCAL], app.load_inventory, verb="check")
    early = connect_early(machines, first=jobs, timeout=timeout)
    try:
        # Slow to import; the servers get ready meanwhile.
        from labctl.facts.sent.bundle import Collector
        from labctl.health.run import Target, check_all

        if machines.hosts:
            from labctl.health.remote import remote_targets

            targets = remote_targets(machines, early=early, timeout=timeout, accept_new=accept_new)
        else:
            from labctl.transport.local import LocalSession

            targets = [Target(LOCAL, LocalSession)]
        yield from check_all(
            targets, rules, deadline=timeout, jobs=jobs, collector=Collector(collector)
        )
    finally:
        early.close()


def exit_code(reports: Sequence[HostReport]) -> ExitCode:
    """Return the exit code for all hosts; the most pressing one counts."""
    statuses = {report.status for report in reports}
    if "unreachable" in statuses:
        return ExitCode.UNREACHABLE
    bad = statuses & {"warning", "critical", "incomplete"}
    return ExitCode.NOT_FINE if bad else ExitCode.OK
