"""The ``labctl`` command: finds the command group, prints errors, sets the exit code.

Command groups are imported when they are called. The table below holds what ``--help`` shows of
them, so that help and completion of names stay fast.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import NoReturn, cast

import click

from labctl import __version__
from labctl.cli.common import AppContext, print_error
from labctl.errors import ExitCode, LabctlError

# command -> (module, attribute, the line that `labctl --help` shows)
COMMANDS = {
    "setup": ("labctl.cli.setup", "setup", "Make Debian boxes right over SSH, or this machine."),
    "check": ("labctl.cli.check", "check", "Check hosts: findings, their cause, the way out."),
    "inventory": ("labctl.cli.inventory", "inventory", "Check, show and import the inventory."),
    "lab": ("labctl.cli.lab", "lab", "Start and stop the virtual lab."),
    "console": ("labctl.cli.console", "console", "Look at a board's serial console, and type."),
    "board": ("labctl.cli.board", "board", "Boot boards, run commands on them, switch them."),
    "flash": ("labctl.cli.flash", "flash", "Write an image to a board, and prove it."),
    "fpga": ("labctl.cli.fpga", "fpga", "Verify FPGA designs: run their tests, show what failed."),
    "gpu": ("labctl.cli.gpu", "gpu", "Show which GPU is free and who has the others."),
    "serve-metrics": (
        "labctl.cli.serve_metrics",
        "serve_metrics",
        "Serve findings and cards to Prometheus.",
    ),
    "completion": ("labctl.cli.completion", "completion", "Print shell completion code."),
}

EPILOG = """\b
Examples:
  labctl lab up box1                start a virtual Debian box
  labctl setup box1 --check         show what set-up would change on it
  labctl setup box1                 show it, ask, do it
  labctl check all                  what is not healthy, and what to do
  labctl lab up arm64               start a virtual board
  labctl board run arm64 'uname -a' run a command on it, over its serial line
  labctl flash arm64 fw.bin         write an image to it, and prove it
  labctl inventory check            find every mistake in inventory.yaml

Exit codes: 0 fine, 1 not fine, 2 bad usage or inventory, 3 not reachable,
4 busy, 130 interrupted."""


class LazyGroup(click.Group):
    """A group that imports a command only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command ``cmd_name``."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as Click does, naming the nearest command where there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " See 'labctl --help'."
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="labctl")
@click.option(
    "-i",
    "--inventory",
    metavar="FILE",
    type=click.Path(),
    help="Inventory file; otherwise $LABCTL_INVENTORY, inventory.yaml here or above, the user's.",
)
@click.pass_context
def app(ctx: click.Context, inventory: str | None) -> None:
    """Set up lab boxes, check hosts and GPUs, drive boards, verify FPGA designs."""
    ctx.obj = AppContext(inventory=inventory)


def main() -> NoReturn:
    """Run the command line and exit with the documented code."""
    context = AppContext.current = AppContext()
    # A character that the terminal's encoding lacks is spelled out; it must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        result = app.main(prog_name="labctl", standalone_mode=False)
        code = result if isinstance(result, int) else ExitCode.OK
        sys.stdout.flush()
    except LabctlError as error:
        print_error(error, as_json=context.current.json)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("labctl: interrupted\n")
        code = ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # The reader (head, less) has gone, which Click answers by SystemExit and no command does
        # otherwise.
        from labctl.report.terminal import silence

        silence(sys.stdout)
        code = ExitCode.OK
    except Exception as error:
        from labctl.cli.crash import explain

        sys.stderr.write(explain(error) + "\n")
        code = ExitCode.NOT_FINE
    sys.exit(int(code))
