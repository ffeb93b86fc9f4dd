"""``labctl board``: boot boards, run commands on them, switch them."""

from __future__ import annotations

import sys

import click

from labctl.cli.board_common import ASK_PASS, BOARD, WAIT, open_bench
from labctl.cli.board_expect import expect
from labctl.cli.board_reset import reset
from labctl.cli.common import AppContext, json_option
from labctl.cli.lab_image import progress_lines
from labctl.errors import ExitCode, UsageError


@click.group(
    epilog="""\b
Examples:
  labctl lab up arm64                          start the virtual board
  labctl board boot arm64 linux                boot it, log in
  labctl board run arm64 'uname -a'            its output, and its exit code
  labctl board run arm64 --in uboot 'crc32 0x40000000 0x100'
  labctl board state arm64                     where is it? found out, not remembered
  labctl board power arm64 cycle

Exit codes: 0 fine, 1 the board failed, 2 bad usage, 3 not reachable, 4 somebody
else holds the line; 'run' ends with the exit code of the command."""
)
def board() -> None:
    """Boot boards, run commands on them, switch them, over their serial lines."""


board.add_command(expect)
board.add_command(reset)


@board.command(
    "list",
    epilog="""\b
Examples:
  labctl board list
  labctl board list --json

\b
Exit code: 0.""",
)
@json_option
@click.pass_obj
def list_(app: AppContext, as_json: bool) -> int:
    """List the boards of the inventory: model, line, who holds it."""
    from labctl.boards.attach import place_of
    from labctl.boards.owner import start
    from labctl.errors import LabctlError
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    rows = []
    for one in app.load_inventory().boards.values():
        holder, state = None, "no line"
        try:
            place = place_of(one)
            state = "recorded" if start.connect(place) else "not in use"
            if state == "recorded":
                holder = _holder(app, one.name)
        except LabctlError:
            state = "not running" if one.virtual else "no line"
        rows.append({"name": one.name, "model": one.model, "line": one.line, "state": state,
                     "holder": holder})  # fmt: skip
    if as_json:
        click.echo(document("board-list", 1, {"boards": rows}))
    else:
        header = ("BOARD", "MODEL", "STATE", "HELD BY", "LINE")
        Terminal().table(
            header,
            [
                (r["name"], r["model"], r["state"], r["holder"] or "-", r["line"] or "-")
                for r in rows
            ],
        )
    return int(ExitCode.OK)


def _holder(app: AppContext, name: str) -> str | None:
    with open_bench(app, name) as bench:
        lease = bench.line.status().lease
    return f"{lease['user']}@{lease['host']} {lease['what']}" if lease else None


@board.command(
    epilog="""\b
Examples:
  labctl board info arm64

\b
Exit codes: 0 fine, 3 the board is not there."""
)
@BOARD
@json_option
@click.pass_obj
def info(app: AppContext, name: str, as_json: bool) -> int:
    """Show what is known of BOARD: its model, its line, its power."""
    from dataclasses import asdict

    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    with open_bench(app, name) as bench:
        status = asdict(bench.line.status())
        powered = bench.power.get() if bench.power else None
        data = {
            "board": name,
            "model": bench.model.name,
            "description": bench.model.description,
            "power": bench.power.kind if bench.power else None,
            "powered": powered,
            "line": status,
            "sender": asdict(bench.profile),
        }
    if as_json:
        click.echo(document("board-info", 1, data))
        return int(ExitCode.OK)
    terminal = Terminal()
    terminal.line(f"{name}: {data['description']}")
    rows = [
        ("model", data["model"]),
        ("line", f"{status['url']}, {status['settings']}"),
        ("present", "yes" if status["open"] else f"no: {status['cause']}"),
        ("recorded", f"{status['end']} bytes in {bench.line.place.log}"),
        ("power", {True: "on", False: "off", None: "unknown"}[powered]),
        ("held by", _lease_words(status["lease"])),
        ("readers", status["readers"]),
    ]
    for key, value in rows:
        terminal.line(f"  {key + ':':11}{value}")
    return int(ExitCode.OK)


def _lease_words(lease: dict[str, object] | None) -> str:
    if lease is None:
        return "nobody"
    return f"{lease['user']}@{lease['host']} (pid {lease['pid']}) with '{lease['what']}'"


@board.command(
    epilog="""\b
Examples:
  labctl board state arm64
  labctl board state arm64 --recover     bring it back to a prompt

\b
States: rom, counting, uboot, login, password, shell, panic, busy (it talks), silent.
Exit codes: 0 it is at a prompt, 1 it is not, 3 not reachable, 4 the line is held."""
)
@BOARD
@WAIT
@click.option("--recover", is_flag=True, help="Bring it back to a prompt, by the mildest means.")
@json_option
@click.pass_obj
def state(app: AppContext, name: str, wait_s: float, recover: bool, as_json: bool) -> int:
    """Find out where BOARD is: by what it says, and by a harmless probe."""
    from dataclasses import asdict

    from labctl.boards.boot import Rung
    from labctl.report.jsondoc import document

    rungs: list[Rung] = []
    with open_bench(app, name) as bench:
        bench.acquire("board state", wait_s=wait_s)
        say = progress_lines(True)

        def record(rung: Rung) -> None:
            rungs.append(rung)
            say(f"{name}: {rung.name}: {rung.finding.state} ({rung.seconds:.1f} s)")

        finding = bench.recover(record) if recover else bench.state()
        at_prompt = finding.state in ("uboot", "login", "shell")
        unknown = finding.state in ("busy", "silent")
        rate = bench.wrong_rate() if unknown else None
    if as_json:
        steps = [
            {"step": one.name, "state": one.finding.state, "seconds": one.seconds} for one in rungs
        ]
        data = {"board": name, "state": finding.state, "proved": finding.proved,
                "evidence": finding.evidence, "recovery": steps,
                "rate": asdict(rate) if rate else None}  # fmt: skip
        click.echo(document("board-state", 1, data))
    else:
        proof = "proved" if finding.proved else "it looks so"
        click.echo(f"{name}: {finding.state} ({proof}); last line: {finding.evidence or '-'}")
        if rate is not None:
            click.echo(f"{name}: {rate.cause()}; {rate.action(name)}")
    return int(ExitCode.OK if at_prompt else ExitCode.NOT_FINE)


@board.command(
    epilog="""\b
Examples:
  labctl board power arm64 cycle
  labctl board power arm64              is it on?

\b
Exit codes: 0 done (or on), 1 it failed (or is off), or nothing switches it."""
)
@BOARD
@click.argument("action", type=click.Choice(["on", "off", "cycle"]), required=False)
@WAIT
@json_option
@click.pass_obj
def power(app: AppContext, name: str, action: str | None, wait_s: float, as_json: bool) -> int:
    """Switch BOARD on or off, or say whether it is on."""
    from labctl.report.jsondoc import document

    with open_bench(app, name) as bench:
        if action is not None:
            bench.acquire(f"board power {action}", wait_s=wait_s)
            bench.switch(action)
        now = bench.power.get() if bench.power else None
    if as_json:
        click.echo(document("board-power", 1, {"board": name, "action": action, "on": now}))
    else:
        click.echo(f"{name}: {({True: 'on', False: 'off', None: 'unknown'})[now]}")
    return int(ExitCode.OK if action is not None or now else ExitCode.NOT_FINE)


@board.command(
    epilog="""\b
Examples:
  labctl board boot arm64 uboot
  labctl board boot arm64 linux --force     restart it even if it is up

\b
Exit codes: 0 it is there, 1 it did not come (a panic is shown), 4 the line is held."""
)
@BOARD
@click.argument("target", type=click.Choice(["uboot", "linux"]))
@click.option("--force", is_flag=True, help="Restart it even if it is there already.")
@WAIT
@ASK_PASS
@json_option
@click.pass_obj
def boot(
    app: AppContext, name: str, target: str, force: bool, wait_s: float, ask_pass: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Bring BOARD to its boot loader's prompt, or to a shell of its Linux."""
    from labctl.report.jsondoc import document

    with open_bench(app, name, ask_pass=ask_pass) as bench:
        bench.acquire(f"board boot {target}", wait_s=wait_s)
        seconds = bench.boot(target, force=force)
    if as_json:
        data = {"board": name, "target": target, "seconds": round(seconds, 2)}
        click.echo(document("board-boot", 1, data))
    else:
        click.echo(f"{name}: at {target} after {seconds:.1f} s")
    return int(ExitCode.OK)


@board.command(
    epilog="""\b
Examples:
  labctl board run arm64 'uname -a'
  labctl board run arm64 --in uboot 'printenv bootcmd'
  labctl board run arm64 --live --timeout 600 ./long-test

\b
Prints the command's output and nothing else; kernel messages in between go to standard error.
Exit codes: that of the command; 1 (with a message) if the answer could not be had, 4 held."""
)
@BOARD
@click.argument("command")
@click.option("--in", "where", type=click.Choice(["uboot", "linux"]), help="Only in this shell.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86400),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="How long it may take.",
)
@click.option("--live", is_flag=True, help="Show output as it comes; it is then not checked.")
@click.option("--idempotent", is_flag=True, help="It may be run again if its answer gets lost.")
@WAIT
@ASK_PASS
@json_option
@click.pass_obj
def run(
    app: AppContext, name: str, command: str, where: str | None, timeout: float, live: bool,
    idempotent: bool, wait_s: float, ask_pass: bool, as_json: bool,
) -> int:  # fmt: skip
    """Run COMMAND on BOARD and end with its exit code."""
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean

    def show(data: bytes) -> None:
        # Into a file or a pipe go the very bytes; a terminal gets what cannot harm it.
        if sys.stdout.isatty():
            sys.stdout.write(clean(data))
        else:
            sys.stdout.buffer.write(data)
        sys.stdout.flush()

    with open_bench(app, name, ask_pass=ask_pass) as bench:
        bench.acquire("board run", wait_s=wait_s)
        result = bench.run(
            command, where=where, timeout=timeout, idempotent=idempotent,
            live=show if live and not as_json else None,
        )  # fmt: skip
    if as_json:
        data = {
            "board": name,
            "command": command,
            "exit_code": result.exit_code,
            "output": result.output.decode(errors="replace"),
            "noise": [clean(line) for line in result.noise],
            "checked": result.checked,
            "fetches": result.fetches,
            "seconds": round(result.seconds, 4),
            "bytes_sent": result.bytes_sent,
            "bytes_received": result.bytes_received,
        }
        click.echo(document("board-run", 1, data))
    else:
        if not live:
            show(result.output)
        for line in result.noise:
            sys.stderr.write(f"labctl: {name}: kernel: {clean(line)}\n")
    return result.exit_code if result.exit_code is not None else int(ExitCode.OK)


@board.command(
    epilog="""\b
Examples:
  labctl board release arm64            who holds its line?
  labctl board release arm64 --force    take it away from them; this is journalled

\b
Exit codes: 0 it is free, 4 it is held."""
)
@BOARD
@click.option("--force", is_flag=True, help="Take the line from whoever holds it.")
@json_option
@click.pass_obj
def release(app: AppContext, name: str, force: bool, as_json: bool) -> int:
    """Say who holds the line of BOARD, or take it from them."""
    from labctl.report.jsondoc import document

    with open_bench(app, name) as bench:
        former = bench.line.force_release() if force else bench.line.status().lease
    if as_json:
        click.echo(document("board-release", 1, {"board": name, "force": force, "lease": former}))
    elif former is None:
        click.echo(f"{name}: nobody holds it")
    else:
        verb = "was held by" if force else "held by"
        click.echo(f"{name}: {verb} {_lease_words(former)}")
    return int(ExitCode.OK if force or former is None else ExitCode.BUSY)


@board.command(
    epilog="""\b
Examples:
  labctl board discover                 adapters, and lines for the inventory

\b
Exit code: 0."""
)
@json_option
@click.pass_obj
def discover(app: AppContext, as_json: bool) -> int:
    """List serial adapters and print them as entries for the inventory."""
    from labctl.boards.discover import discover as find
    from labctl.boards.discover import to_yaml
    from labctl.report.jsondoc import document

    try:
        inventory = app.load_inventory()
        taken = [*inventory.hosts, *inventory.boards, *inventory.fpga]
    except UsageError:
        taken = []  # there need be none yet: this is how one begins
    adapters = find(taken)
    if as_json:
        click.echo(
            document("board-discover", 1, {"adapters": [one.describe() for one in adapters]})
        )
    elif adapters:
        click.echo(to_yaml(adapters), nl=False)
    else:
        click.echo("no serial adapter is plugged in")
    return int(ExitCode.OK)
