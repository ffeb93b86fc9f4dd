"""``labctl board expect``: a dialogue with a board, from a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.board_common import BOARD, WAIT, on_a_terminal, open_bench
from labctl.cli.common import AppContext, json_option
from labctl.errors import ExitCode, LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.boards.expect.dialogue import Outcome, StepReport
    from labctl.boards.expect.script import Script


@click.command(
    epilog="""\b
Examples:
  labctl board expect arm64 stop-autoboot.yaml
  labctl board expect arm64 login.yaml < password-file    its passwords, a line each
  labctl board expect --check login.yaml                  no board is touched

\b
Exit codes: 0 all steps done, 1 one failed (it says what was expected, and what came), 2 the
script has mistakes, 3 not reachable, 4 the line is held."""
)
@BOARD
@click.argument("script", metavar="SCRIPT.yaml", required=False, type=click.Path())
@click.option("--check", is_flag=True, help="Only read the script; BOARD may be left away.")
@WAIT
@json_option
@click.pass_obj
def expect(
    app: AppContext, name: str, script: str | None, check: bool, wait_s: float, as_json: bool
) -> int:
    """Run a script on BOARD: wait for what it says, type, switch; see docs/boards.md."""
    from labctl.boards.expect.dialogue import run_script
    from labctl.boards.expect.script import load_script

    if script is None and not check:
        raise UsageError("no script is named", thing=name,
                         action=f"labctl board expect {name} SCRIPT.yaml")  # fmt: skip
    read = load_script(Path(script or name).expanduser())
    if check:
        return _checked(read, as_json=as_json)
    with open_bench(app, name) as bench:
        secrets = _ask(read, name)
        bench.acquire("board expect", wait_s=wait_s)

        def show(report: StepReport) -> None:
            if not as_json:
                click.echo(_line(name, report))

        outcome = run_script(bench, read, secrets=secrets, on_step=show)
    if as_json:
        _print(name, read, outcome)
    elif outcome.failed is None:
        kept = "".join(f"; {key}={value}" for key, value in outcome.captures.items())
        count = len(outcome.steps)
        click.echo(f"{name}: {count} steps done in {outcome.seconds:.1f} s{kept}")
    else:
        where = f"{read.name}:{outcome.failed.line}"
        raise LabctlError(f"{where}: {outcome.failed.describe()}", thing=name)
    return int(ExitCode.NOT_FINE if outcome.failed else ExitCode.OK)


def _checked(script: Script, *, as_json: bool) -> int:
    from labctl.report.jsondoc import document

    if as_json:
        data = {"script": script.name, "secrets": script.secrets(), "steps": len(script.steps)}
        click.echo(document("board-expect-check", 1, data))
    else:
        click.echo(f"{script.name}: no mistakes, {len(script.steps)} steps")
    return int(ExitCode.OK)


def _ask(script: Script, name: str) -> dict[str, str]:
    """Return the passwords of ``script``: from a person, or from standard input, a line each."""
    secrets: dict[str, str] = {}
    for one in script.secrets():
        if on_a_terminal():
            secrets[one] = str(click.prompt(f"{one} for {name}", hide_input=True, err=True))
            continue
        line = sys.stdin.readline()
        if not line:
            raise UsageError(
                f"the script types the password '{one}', and none is given", thing=script.name,
                action="run it on a terminal, or give a line for each on standard input",
            )  # fmt: skip
        secrets[one] = line.rstrip("\r\n")
    return secrets


def _line(name: str, report: StepReport) -> str:
    what = f"{report.action} {report.text}"
    came = f": {report.matched}" if report.matched else ""
    return f"{name}: line {report.line}: {what}{came} ({report.seconds:.1f} s)"


def _print(name: str, script: Script, outcome: Outcome) -> None:
    from dataclasses import asdict

    from labctl.report.jsondoc import document

    failed = asdict(outcome.failed) if outcome.failed else None
    if failed:
        failed["waited_s"] = round(failed["waited_s"], 3)
    data = {
        "board": name,
        "script": script.name,
        "ok": outcome.failed is None,
        "seconds": round(outcome.seconds, 3),
        "steps": [{**asdict(one), "seconds": round(one.seconds, 3)} for one in outcome.steps],
        "captures": outcome.captures,
        "failed": failed,
    }
    click.echo(document("board-expect", 1, data))
