"""``labctl serve-metrics``: hosts and cards for Prometheus."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

EPILOG = """\b
Examples:
  labctl serve-metrics                      this machine, on 127.0.0.1:9780
  labctl serve-metrics @gpu --every 1m      all hosts with the tag gpu
  labctl serve-metrics all --only check     without who has which card
  labctl serve-metrics --grafana >labctl.json   a dashboard to import in Grafana
  curl -s http://127.0.0.1:9780/metrics     what Prometheus will see

Anyone who can reach the address can read it, and it names people; so it is the
loopback interface unless you say otherwise.

Exit codes: 0 ended by SIGTERM, 2 bad usage or inventory, 4 the port is taken,
130 interrupted."""

DEFAULT_LISTEN = "127.0.0.1:9780"
_SHORTEST_S, _LONGEST_S = 1, 24 * 3600


@click.command(epilog=EPILOG)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option(
    "--listen",
    default=DEFAULT_LISTEN,
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to serve; port 0 takes a free one.",
)
@click.option(
    "--every", default="30s", show_default=True, metavar="SPAN", help="How often to ask a host."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.5, 600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="What a host may take to answer in all.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 500), default=100, show_default=True,
    help="Questions at once.",
)  # fmt: skip
@click.option(
    "--only", type=click.Choice(["check", "gpu"]), help="Only the findings, or only the cards."
)
@click.option("--accept-new", is_flag=True, help="Accept unknown host keys (a changed one never).")
@click.option("--grafana", is_flag=True, help="Print a dashboard for Grafana and end.")
@json_option
@click.pass_obj
def serve_metrics(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    listen: str,
    every: str,
    timeout: float,
    jobs: int,
    only: str | None,
    accept_new: bool,
    grafana: bool,
    as_json: bool,
) -> int:
    """Ask HOSTS regularly (this machine if none is named) and serve Prometheus the metrics."""
    if grafana:
        from labctl.metrics.grafana import dashboard

        sys.stdout.write(dashboard())
        return int(ExitCode.OK)
    from labctl.gpu.bookings import span

    seconds = span(every)
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise UsageError("1s to 1d apart", thing=every)
    from labctl.transport.machines import LOCAL, choose

    machines = choose(hosts or [LOCAL], app.load_inventory, verb="serve-metrics")
    from labctl.metrics.collector import Readings
    from labctl.metrics.jobs import ABOUT
    from labctl.metrics.jobs import jobs as questions
    from labctl.metrics.regular import Regular
    from labctl.metrics.server import make_server

    asked = questions(machines, (only,) if only else ABOUT, timeout=timeout, accept_new=accept_new)
    # Nothing is asked before it is sure that it can be served.
    regular = Regular(asked, every=seconds, workers=jobs)
    with make_server(listen, Readings(regular)) as server:
        regular.start()
        names = [host.name for host in machines.hosts] or [LOCAL]
        _announce(server, names, listen, seconds, as_json=as_json)
        try:
            _serve(server)
        finally:
            regular.stop()
    return int(ExitCode.OK)


def _announce(
    server: WSGIServer, names: list[str], listen: str, seconds: int, *, as_json: bool
) -> None:
    from labctl.metrics.server import address, is_loopback, url

    if as_json:
        from labctl.report.jsondoc import document

        data = {"url": url(server), "hosts": names, "every_s": seconds}
        sys.stdout.write(document("serve-metrics", 1, data) + "\n")
    else:
        count = f"{len(names)} host{'' if len(names) == 1 else 's'}"
        sys.stdout.write(f"{url(server)}: {count}, asked each {seconds} s; Ctrl-C ends it\n")
    sys.stdout.flush()
    if not is_loopback(address(listen)[0]):
        sys.stderr.write(
            f"labctl: {listen}: anyone who can reach this address can read names of people and"
            " hosts; a firewall or a proxy with a password keeps them out\n"
        )


def _serve(server: WSGIServer) -> None:
    """Serve until SIGTERM (systemd's way to end a service) or Ctrl-C."""
    import signal
    import threading

    def end(number: int, frame: object) -> None:
        # Not from here: it waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(poll_interval=0.2)
