"""``labctl flash``: write an image to a board, and prove it."""

from __future__ import annotations

from pathlib import Path

import click

from labctl.cli.common import AppContext, complete_boards, find_board, json_option
from labctl.cli.lab_image import progress_lines
from labctl.errors import ExitCode


@click.command(
    epilog="""\b
Examples:
  labctl flash arm64                            what can be written, and by which methods
  labctl flash arm64 fw.bin --to flash --plan   show what would be done
  labctl flash arm64 fw.bin --to flash          do it; again, and nothing is written
  labctl flash uno blink.hex
  labctl flash stm32 fw.elf --method stm32-uart

\b
First the plan is printed: which board it is and how that is known, what is there now,
what goes where and how. Then the board proves who it is, what it has already is
skipped, what was written is read back. To find out what is there the board is brought
to its boot loader, also for --plan.

\b
Exit codes: 0 it is there, 1 it is not, or the image or the board is the wrong one,
2 bad usage, 3 not reachable, 4 somebody else holds the line, 130 interrupted."""
)
@click.argument("name", metavar="BOARD", shell_complete=complete_boards)
@click.argument("image", metavar="[IMAGE]", required=False,
                type=click.Path(dir_okay=False, path_type=Path))  # fmt: skip
@click.option("--to", metavar="PART", help="Where to; the first place of the board's model.")
@click.option("--method", metavar="M", help="How; the first method that can be used.")
@click.option(
    "--via", metavar="WAY", help="Way there: tftp, ymodem (U-Boot); network, ssh, console (Linux)."
)
@click.option("--kind", metavar="KIND", help="Take IMAGE for this kind of file, such as raw.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be done, and stop.")
@click.option(
    "--force",
    is_flag=True,
    help="Write it even if it is there already, and\n"
    "a bitstream of an FPGA even if its timing failed.",
)
@click.option("--new-board", is_flag=True, help="The board was replaced by another one.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 3600), default=0.0, metavar="SECONDS",
    help="Wait so long for whoever holds the line.",
)  # fmt: skip
@json_option
@click.pass_obj
def flash(
    app: AppContext, name: str, image: Path | None, to: str | None, method: str | None,
    via: str | None, kind: str | None, only_plan: bool, force: bool, new_board: bool, wait_s: float,
    as_json: bool,
) -> int:  # fmt: skip
    """Write IMAGE to BOARD and prove that it is there."""
    from labctl.boards.bench import Bench
    from labctl.boards.flash.image import read_image
    from labctl.boards.flash.job import FlashJob
    from labctl.cli import flash_output

    inventory = app.load_inventory()
    board = find_board(inventory, name)
    if image is None:
        return flash_output.show_places(board, inventory.path, as_json=as_json)
    content = read_image(image, kind=kind)
    say = progress_lines(True)
    with Bench(board, inventory.path, say=lambda text: say(f"{name}: {text}")) as bench:
        job = FlashJob(
            bench, inventory.path, content, to=to, method=method, via=via, new_board=new_board,
            say=lambda text: say(f"{name}: {text}"),
        )  # fmt: skip
        plan = job.plan(wait_s=wait_s, force=force)
        if not as_json:
            flash_output.show_plan(bench, plan)
        if only_plan:
            job.method.leave()
            if as_json:
                flash_output.print_json(bench, plan, None)
            return int(ExitCode.OK)
        with flash_output.shown_progress(quiet=as_json) as progress:
            result = job.run(plan, progress)
        if as_json:
            flash_output.print_json(bench, plan, result)
        else:
            flash_output.show_result(bench, plan, result)
    return int(ExitCode.OK)
