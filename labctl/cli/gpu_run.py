"""``labctl gpu run``: wait for cards, hold them, run a command on them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext
from labctl.cli.gpu import look_at, looking, machines_of, make_wish, wishing
from labctl.errors import ExitCode

if TYPE_CHECKING:
    from labctl.gpu.choose import Wish
    from labctl.gpu.show import Line
    from labctl.gpu.slurm_run import Order


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  labctl gpu run -- python train.py
  labctl gpu run --count 2 --memory 20G -- torchrun --nproc-per-node 2 train.py
  labctl gpu run --on gpu1,gpu2 --timeout 8h -- ./job.sh

The command sees only its cards (CUDA_VISIBLE_DEVICES, by UUID). Others see
them as booked; they are given back on any end, also of labctl itself. On
another host it runs in the home folder there, with nothing on its input.

Where a host is under Slurm and no other has such cards free, 'srun' gets the
command: it waits in Slurm's queue for as long as --timeout, and Slurm chooses
the cards (and, without --on and --memory, the node). Interrupted, the job is
cancelled. Partition and account: srun's own variables, SLURM_PARTITION, ...

Exit codes: those of the command (128 + N after signal N); 1 no cards within
the timeout, 2 bad usage, 3 the host was lost, 130 interrupted.""",
)
@click.option("--on", default="", metavar="HOSTS", help="Which hosts; as for 'labctl gpu'.")
@wishing
@click.option(
    "--timeout", default="1d", show_default=True, metavar="SPAN", help="How long to wait."
)
@click.option(
    "--every", default="15s", show_default=True, metavar="SPAN", help="How often to look."
)
@looking
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(
    app: AppContext,
    /,
    *,
    on: str,
    count: int,
    memory: str,
    same_host: bool,
    timeout: str,
    every: str,
    accept_new: bool,
    deadline: float,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND on free cards, which are held for it."""
    from labctl.cli.gpu_waiting import Waiting
    from labctl.gpu.bookings import span
    from labctl.gpu.run import environment, leased, terminable
    from labctl.gpu.slurm_run import order

    # One command runs on one host.
    wish = make_wish(count, memory, same_host=True)
    hosts = tuple(word for word in on.split(",") if word)
    end, pause = time.monotonic() + span(timeout), max(1, span(every))
    terminable()
    waiting = Waiting()
    while True:
        readings, lines, _ = look_at(app, hosts, accept_new=accept_new, deadline=deadline)
        # Cards of Slurm are Slurm's to give.
        held = _take([line for line in lines if not line.under_slurm], wish, command[0])
        left = end - time.monotonic()
        if held is None:
            given = order(lines, wish, command, patience_s=left, named=bool(hosts))
            if given is not None:
                return _by_slurm(app, given, accept_new=accept_new)
        if held is None and left <= 0:
            sys.stderr.write("labctl: no such cards became free in time\n")
            return int(ExitCode.NOT_FINE)
        if held is not None:
            break
        waiting.tell(readings)
        time.sleep(min(pause, left))
    chosen, lease = held
    with leased(lease):
        pins = environment(chosen)
        where = chosen[0].reading.host
        cards = ", ".join(line.unit.name for line in chosen)
        sys.stderr.write(f"labctl: {where}, GPU {cards}\n")
        return _execute(app, where, command, pins, accept_new=accept_new)


def _take(lines: list[Line], wish: Wish, what: str) -> tuple[list[Line], list[int]] | None:
    from labctl.gpu.choose import pick
    from labctl.gpu.run import hold

    chosen = pick(lines, wish)
    if chosen is None:
        return None
    lease = hold(chosen, person=wish.person, note=f"runs {what}"[:200])
    return None if lease is None else (chosen, lease)


def _by_slurm(app: AppContext, given: Order, *, accept_new: bool) -> int:
    from labctl.gpu.slurm_run import cancelled_after

    sys.stderr.write(f"labctl: Slurm, job {given.name}, from {given.host}\n")
    with cancelled_after(given):
        return _execute(app, given.host, given.command, {}, accept_new=accept_new)


def _execute(
    app: AppContext, where: str, command: tuple[str, ...], pins: dict[str, str], *, accept_new: bool
) -> int:
    from labctl.errors import UnreachableError
    from labctl.gpu.run import run_here, run_there
    from labctl.transport.machines import LOCAL
    from labctl.transport.ssh import Access, connect

    machines = machines_of(app, [where])
    if where == LOCAL and not machines.hosts:
        return run_here(command, pins)
    (host,) = machines.hosts
    target = machines.target(host)
    if isinstance(target, UnreachableError):
        raise target
    session = connect(target, Access(decide=lambda name, kind, mark: accept_new))
    try:
        return run_there(session, command, pins)
    finally:
        session.close()
