"""A line at a wrong rate, through the command line: said, explained, and left as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "unit/boards"))

from ptyuart import Hush, PtyUart
from virtual_lab import Lab, until

from labctl.boards.owner import start
from labctl.boards.owner.journal import read_journal

KERNEL = b"[    1.234567] usb 1-1: new high-speed USB device number 2 using xhci_hcd\r\n"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., tuple[Lab, PtyUart]]]:
    """A function that makes a board at a rate, and a lab whose inventory says another."""
    labs: list[Lab] = []
    boards: list[PtyUart] = []

    def build(rate: int, *, answer: Callable[[bytes], bytes] | None = None, said: int = 115200):  # type: ignore[no-untyped-def] # noqa: ANN202
        board = PtyUart(tmp_path, rate, answer or Hush())
        boards.append(board)
        labs.append(Lab(tmp_path, inventory=inventory(board.path, said)))
        return labs[-1], board

    yield build
    for lab in labs:
        with lab.environment():
            for place in start.running(tmp_path / "state/labctl/lines"):
                start.stop(place)
    for board in boards:
        board.close()


def inventory(path: Path, rate: int) -> str:
    return (
        f"version: 1\nboards:\n  uno: {{model: generic, line: {path}, "
        f"settings: {{line: {{baud: {rate}}}}}}}\n"
    )


def events(lab: Lab) -> list[dict[str, object]]:
    with lab.environment():
        (place,) = start.running(lab.inventory.parent / "state/labctl/lines")
    return list(read_journal(place.events))


def test_state_names_the_rate_that_decodes_and_following_it_works(
    make: Callable[..., tuple[Lab, PtyUart]],
) -> None:
    lab, board = make(9600)
    done = lab.labctl("board", "state", "uno", check=False)
    assert done.returncode == 1
    assert "it looks like a wrong rate: 115200 is set; 9600 decodes" in done.stdout
    assert "{line: {baud: 9600}}" in done.stdout
    assert board.other() == 115200
    # The owner of the line lives on; what the inventory says now counts all the same.
    lab.inventory.write_text(inventory(board.path, 9600))
    said = lab.json("board", "state", "uno")
    assert (said["state"], said["rate"]) == ("uboot", None)
    assert board.other() == 9600


def test_run_and_boot_say_it_too(make: Callable[..., tuple[Lab, PtyUart]]) -> None:
    lab, board = make(57600)
    for words in (("run", "uno", "version"), ("boot", "uno", "uboot")):
        done = lab.labctl("board", *words, check=False)
        assert done.returncode == 1
        assert "it looks like a wrong rate: 115200 is set; 57600 decodes" in done.stderr
        assert board.other() == 115200


def test_a_board_that_talks_and_does_not_listen(make: Callable[..., tuple[Lab, PtyUart]]) -> None:
    lab, board = make(9600, answer=lambda typed: b"")
    watching = lab.start("console", "--watch", "uno")
    try:
        until(lambda: board.other() == 115200)
        for _ in range(20):
            board.say(KERNEL)
        assert watching.stdout is not None
        descriptor = watching.stdout.fileno()
        seen = b""

        def told() -> bool:
            nonlocal seen
            seen += os.read(descriptor, 65536)
            return b"this looks like a wrong rate (115200 8N1 is set)" in seen

        until(told)
        assert b"labctl board state uno" in seen
    finally:
        watching.kill()
        watching.wait()


def test_a_line_at_its_rate_is_not_doubted(make: Callable[..., tuple[Lab, PtyUart]]) -> None:
    lab, board = make(115200, answer=lambda typed: typed.replace(b"\r", b"\r\n"))
    done = lab.labctl("board", "state", "uno", check=False)
    assert (done.returncode, "wrong rate" in done.stdout) == (1, False)
    assert board.rates == [115200] or board.rates[-1] == 115200
    assert not [one for one in events(lab) if one["event"] == "baud"]


def test_a_rate_is_put_back_when_who_set_it_has_gone(
    make: Callable[..., tuple[Lab, PtyUart]],
) -> None:
    lab, board = make(115200)
    code = (
        "import os, sys\nfrom labctl.boards.bench import Bench\n"
        "from labctl.inventory.loader import load_inventory\nfrom pathlib import Path\n"
        "inventory = load_inventory(Path(sys.argv[1]))\n"
        "bench = Bench(inventory.boards['uno'], inventory.path)\nbench.acquire('test')\n"
        "bench.line.set_baud(2400)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(lab.inventory)], env=lab.env, timeout=60, check=False
    )
    assert done.returncode == -9
    until(lambda: board.other() == 115200)
    rates = [one["rate"] for one in events(lab) if one["event"] == "baud"]
    assert rates == [2400, 115200]
