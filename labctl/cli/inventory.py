"""``labctl inventory``: check, show, schema and import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.inventory.model import Board, FpgaProject, Host, Inventory


@click.group(
    epilog="""\b
Examples:
  labctl inventory check                     name every mistake of inventory.yaml
  labctl inventory show @gpu                 hosts with groups and defaults applied
  labctl inventory import ~/.ssh/config -o inventory.yaml"""
)
def inventory() -> None:
    """Check, show and import the inventory."""


@inventory.command(
    short_help="Name every mistake in the inventory.",
    epilog="""\b
Examples:
  labctl inventory check
  labctl -i lab/inventory.yaml inventory check --json

\b
Exit codes: 0 no mistake, 2 mistakes or no inventory.""",
)
@json_option
@click.pass_obj
def check(app: AppContext, as_json: bool) -> int:
    """Name every mistake in the inventory, one line each: file:line:column: what."""
    from labctl.inventory.diagnostics import InventoryError, shown_path
    from labctl.inventory.loader import find_inventory, load_inventory
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean

    path = find_inventory(app.inventory)
    mistakes: list[dict[str, object]] = []
    counts: dict[str, int] = {}
    text = ""
    try:
        counts = _counts(load_inventory(path))
        text = f"{shown_path(path)}: {_in_words(counts)}: fine"
    except InventoryError as error:
        text = str(error)
        mistakes = [
            {"line": one.line, "column": one.column, "message": one.message}
            for one in error.diagnostics
        ]
    if as_json:
        data = {"file": str(path), "fine": not mistakes, "counts": counts, "mistakes": mistakes}
        click.echo(document("inventory-check", 1, data))
    else:
        click.echo(clean(text))
    return int(ExitCode.USAGE if mistakes else ExitCode.OK)


@inventory.command(
    short_help="Show hosts, boards and FPGA projects.",
    epilog="""\b
Examples:
  labctl inventory show                 everything, as a table
  labctl inventory show box1            one host in full, ~/.ssh/config applied
  labctl inventory show @gpu '!gpu7' --json

\b
Exit codes: 0 shown, 2 no such name, mistakes in the inventory, or no inventory.""",
)
@click.argument("names", nargs=-1, shell_complete=complete_hosts)
@json_option
@click.pass_obj
def show(app: AppContext, names: tuple[str, ...], as_json: bool) -> None:
    """Show NAMES (names, globs, @tag, !exclusion, all) with everything inherited applied.

    Without NAMES: a table of all hosts, boards and FPGA projects. Passwords are never shown.
    """
    from labctl.inventory.selection import select_any
    from labctl.inventory.views import describe
    from labctl.report.jsondoc import document

    loaded = app.load_inventory()
    chosen: list[Host | Board | FpgaProject]
    chosen = [*loaded.hosts.values(), *loaded.boards.values(), *loaded.fpga.values()]
    views = describe(loaded, select_any(loaded, names) if names else chosen)
    if as_json:
        click.echo(document("inventory", 1, {"file": str(loaded.path), **views}))
    elif names:
        _print_in_full(views)
    else:
        _print_tables(views)


@inventory.command(
    short_help="Print the JSON Schema for editors.",
    epilog="""\b
Examples:
  labctl inventory schema > ~/.config/labctl/inventory.schema.json""",
)
def schema() -> None:
    """Print the JSON Schema of inventory files, for completion in editors."""
    import json

    from labctl.inventory.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@inventory.command(
    name="import",
    short_help="Import an OpenSSH config or Ansible inventory.",
    epilog="""\b
Examples:
  labctl inventory import ~/.ssh/config               print it as an inventory
  labctl inventory import hosts.ini -o inventory.yaml
  labctl inventory import site.yml --from ansible

\b
Exit codes: 0 imported (warnings on stderr say what was left out), 2 not readable.""",
)
@click.argument("file", type=click.Path())
@click.option(
    "--from",
    "kind",
    type=click.Choice(["ssh", "ansible"]),
    help="What FILE is; told from its content if not given.",
)
@click.option(
    "-o", "--output", type=click.Path(), help="Write here; an existing file is not replaced."
)
@json_option
def import_(file: str, kind: str | None, output: str | None, as_json: bool) -> None:
    """Read an OpenSSH client config or an Ansible inventory and print it as ours."""
    from labctl.fileio import write_atomic
    from labctl.inventory.importing import import_file
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean_line

    if output and Path(output).exists():
        raise UsageError("the file exists already", thing=output, action="name another one")
    result = import_file(Path(file), kind)
    for warning in result.warnings:
        sys.stderr.write(f"labctl: warning: {clean_line(warning)}\n")
    if output:
        try:
            write_atomic(Path(output), result.text, mode=0o644)
        except OSError as error:
            raise UsageError(
                f"cannot be written: {error.strerror}", thing=output, action="name another file"
            ) from None
    if as_json:
        data = {"output": output, "text": result.text, "warnings": list(result.warnings)}
        click.echo(document("inventory-import", 1, data))
    elif output:
        click.echo(f"{output}: {result.summary}")
    else:
        click.echo(result.text, nl=False)


def _print_tables(views: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    tables: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], tuple[str, ...]]]] = {
        "hosts": (
            ("HOST", "REACHED AT", "GROUPS", "TAGS", "PROFILES"),
            lambda one: (
                one["name"],
                _reached(one),
                ",".join(one["groups"]),
                ",".join(one["tags"]),
                ",".join(one["profiles"]),
            ),
        ),
        "boards": (
            ("BOARD", "MODEL", "LINE", "HOST", "TAGS"),
            lambda one: (
                one["name"],
                one["model"],
                one["line"] or ("virtual" if one["virtual"] else "-"),
                one["host"] or "-",
                ",".join(one["tags"]),
            ),
        ),
        "fpga": (
            ("FPGA PROJECT", "PATH", "TAGS"),
            lambda one: (one["name"], one["path"], ",".join(one["tags"])),
        ),
    }
    shown = [kind for kind in tables if views[kind]]
    for number, kind in enumerate(shown):
        header, row = tables[kind]
        if number:
            terminal.line()
        terminal.table(header, [row(one) for one in views[kind]])
    if not shown:
        terminal.line("the inventory is empty")


def _print_in_full(views: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    import json

    from labctl.report.sanitize import clean_line
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    for kind, noun in (("hosts", "host"), ("boards", "board"), ("fpga", "FPGA project")):
        for one in views[kind]:
            terminal.line(terminal.paint(f"{one['name']} ({noun})", "bold"))
            for key, value in one.items():
                if key == "name" or value in (None, "", [], {}):
                    continue
                if isinstance(value, list) and all(isinstance(item, str) for item in value):
                    text = ", ".join(value)
                elif isinstance(value, str):
                    text = value
                else:
                    text = json.dumps(value, ensure_ascii=False, default=str)
                terminal.line(f"  {key + ':':16}{clean_line(text, limit=2000)}")


def _reached(one: Mapping[str, Any]) -> str:
    if one["hostname"] is None:
        return f"virtual {one['virtual']}, not running"
    hostname = f"[{one['hostname']}]" if ":" in one["hostname"] else one["hostname"]
    jump = f" via {one['proxy_jump']}" if one["proxy_jump"] else ""
    return f"{one['user']}@{hostname}:{one['port']}{jump}"


def _counts(loaded: Inventory) -> dict[str, int]:
    return {
        # The light boxes of a running fleet are in no file.
        "hosts": sum(host.virtual != "fleet" for host in loaded.hosts.values()),
        "boards": len(loaded.boards),
        "fpga": len(loaded.fpga),
    }


def _in_words(counts: dict[str, int]) -> str:
    nouns = {"hosts": "host", "boards": "board", "fpga": "FPGA project"}
    return ", ".join(
        f"{counts[key]} {noun}{'' if counts[key] == 1 else 's'}" for key, noun in nouns.items()
    )
