"""``labctl setup``: make boxes right."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.setup.options import Options

EPILOG = """\b
Examples:
  labctl setup box1 --check --diff     what would change, with the lines
  labctl setup box1                    show the plan, ask, do it
  labctl setup @gpu --yes --jobs 8     all hosts with the tag gpu, no question
  labctl setup gpu1 --accept-new       first contact: accept its host key
  labctl setup local --set timezone=Europe/Berlin
  labctl setup --retry-failed          only what the last run did not finish
  labctl setup --show last             what the last run did

Exit codes: 0 nothing (left) to change, 1 changes pending (--check) or an item
failed, 2 bad usage or inventory, 3 a host was not reached, 4 a host is being
changed by another labctl, 130 interrupted."""


@click.command(epilog=EPILOG)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option("--check", is_flag=True, help="Show the plan and change nothing.")
@click.option("--diff", is_flag=True, help="Show the differences of text files.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before changing.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="Hosts at once.",
)
@click.option(
    "-p",
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help="Profile instead of the inventory's; may be repeated.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Value (YAML) for a profile's variable; may be repeated.",
)
@click.option("--accept-new", is_flag=True, help="Accept unknown host keys (a changed one never).")
@click.option("--ask-pass", is_flag=True, help="Ask for the login password, once for all hosts.")
@click.option(
    "--ask-sudo-pass", is_flag=True, help="Ask for the sudo password, once for all hosts."
)
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the login (and sudo) password from the first line of standard input.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    metavar="SECONDS",
    show_default=True,
    help="How long to wait for a host.",
)
@click.option("--retry-failed", is_flag=True, help="Do what the last run did not finish.")
@click.option("--runs", is_flag=True, help="List past runs.")
@click.option("--show", metavar="RUN", help="Show what a past run did ('last', or its id).")
@json_option
@click.pass_obj
def setup(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    runs: bool,
    show: str | None,
    as_json: bool,
    **rest: object,
) -> int:
    """Make HOSTS (names, globs, @tag, !exclusion, all; or local) what their profiles say."""
    if runs or show:
        from labctl.cli.setup_history import print_run, print_runs

        return print_run(show, as_json=as_json) if show else print_runs(as_json=as_json)
    from labctl.setup.options import Options

    options = Options(hosts=hosts, json=as_json, **rest)  # type: ignore[arg-type]
    return _run(app, options)


def _run(app: AppContext, options: Options) -> int:
    from labctl.transport.early import EarlyConnections
    from labctl.transport.machines import choose, connect_early

    if not options.hosts and not options.retry_failed:
        raise UsageError("no host given", action="name hosts of the inventory, 'all', or 'local'")
    if not (options.yes or options.check) and (options.json or not sys.stdin.isatty()):
        raise UsageError(
            "nobody can be asked here", action="add --yes to change, or --check to look"
        )
    machines, early = None, EarlyConnections()
    if not options.retry_failed:
        machines = choose(options.hosts, app.load_inventory, verb="setup")
        early = connect_early(
            machines, first=options.connect_ahead, timeout=options.connect_timeout
        )
    try:
        # Slow to import; the servers get ready meanwhile.
        from labctl.cli.setup_output import JsonPrinter, PlainPrinter
        from labctl.setup.job import prepare

        printer = JsonPrinter(options) if options.json else PlainPrinter(options)
        work = prepare(app.load_inventory, options, printer, machines=machines, early=early)
        results = work.run()
    finally:
        early.close()
    printer.finish(results, work.run_id)
    return int(
        exit_code(
            [result.status for result in results],
            pending=any(result.count("to_change") for result in results),
        )
    )


def exit_code(statuses: list[str], *, pending: bool) -> ExitCode:
    """Return the exit code for what became of the hosts; the most pressing one counts."""
    for status, code in (
        ("interrupted", ExitCode.INTERRUPTED),
        ("unreachable", ExitCode.UNREACHABLE),
        ("busy", ExitCode.BUSY),
        ("failed", ExitCode.NOT_FINE),
        ("declined", ExitCode.NOT_FINE),
    ):
        if status in statuses:
            return code
    return ExitCode.NOT_FINE if pending else ExitCode.OK
