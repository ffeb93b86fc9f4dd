"""labctl board expect on the virtual board: its own example, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab

from labctl.boards.owner import start

pytestmark = pytest.mark.vm

EXAMPLE = Path(__file__).parents[3] / "boards/qemu-arm64/boot-order.yaml"
INVENTORY = """\
version: 1
boards:
  arm64: {model: qemu-arm64, virtual: true}
"""


@pytest.fixture(scope="module")
def board(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose board arm64 is at its boot loader's prompt."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "arm64")
    lab.labctl("board", "boot", "arm64", "uboot")
    yield lab
    lab.down()


def script(lab: Lab, text: str) -> str:
    path = lab.inventory.parent / "script.yaml"
    path.write_text(text)
    return str(path)


def test_the_example_stops_autoboot_reads_a_variable_and_boots(board: Lab) -> None:
    said = board.json("board", "expect", "arm64", str(EXAMPLE))
    assert said["schema"] == "labctl.board-expect/1"
    assert said["ok"], said["failed"]
    assert said["captures"] == {"delay": "2", "said": "2", "machine": "aarch64"}
    assert [one["action"] for one in said["steps"]][:4] == ["power", "expect", "send", "expect"]
    assert board.json("board", "state", "arm64")["state"] == "shell"


def test_an_expectation_that_fails_says_what_came(board: Lab) -> None:
    board.labctl("board", "boot", "arm64", "uboot")
    path = script(
        board,
        "steps:\n  - sendline: version\n  - expect: 'u-boot (?P<v>\\S+)'\n    timeout: 1\n",
    )
    done = board.labctl("board", "expect", "arm64", path, check=False)
    assert done.returncode == 1
    assert re.search(r"script\.yaml:3: '.*' did not come within 1 s", done.stderr)
    assert "it came with other capitals: U-Boot 20" in done.stderr
    assert "  | U-Boot 20" in done.stderr
    assert done.stdout.startswith("arm64: line 2: sendline version")
    failed = json.loads(
        board.labctl("board", "expect", "arm64", path, "--json", check=False).stdout
    )["failed"]
    assert (failed["line"], failed["expected"]) == (3, ["u-boot (?P<v>\\S+)"])
    assert any("U-Boot 20" in line for line in failed["last_lines"])


def test_fail_on_ends_it_long_before_the_time(board: Lab) -> None:
    board.labctl("board", "boot", "arm64", "uboot")
    path = script(
        board,
        "fail_on: ['^Unknown command']\ntimeout: 3600\n"
        "steps:\n  - sendline: nosuch\n  - expect: never\n",
    )
    done = board.labctl("board", "expect", "arm64", path, check=False)
    assert done.returncode == 1
    assert "of 'fail_on' came: Unknown command 'nosuch'" in done.stderr


def test_a_password_comes_from_standard_input_and_stays_secret(board: Lab) -> None:
    board.labctl("board", "boot", "arm64", "uboot")
    path = script(
        board,
        "steps:\n  - send: 'echo '\n  - secret: word\n  - expect: '^(?P<w>[a-z]+)$'\n"
        "    capture: [w]\n",
    )
    none = board.labctl("board", "expect", "arm64", path, check=False)
    assert (none.returncode, "'word'" in none.stderr) == (2, True)
    done = board.labctl("board", "expect", "arm64", path, stdin="xyzzy\n")
    assert done.stdout.endswith("; w=*****\n")
    assert "xyzzy" not in done.stdout + done.stderr
    with board.environment():
        place = start.running(board.folder.parents[1] / "lines")[0]
    assert "xyzzy" not in place.events.read_text()
    assert '"event": "expect"' in place.events.read_text()


def test_a_panic_that_comes_is_shown_at_once(board: Lab) -> None:
    board.labctl("board", "boot", "arm64", "linux")
    path = script(
        board,
        "timeout: 3600\nsteps:\n"
        "  - sendline: echo c > /proc/sysrq-trigger\n  - expect: 'never comes'\n",
    )
    done = board.labctl("board", "expect", "arm64", path, check=False)
    assert done.returncode == 1
    assert "the board panicked" in done.stderr
    assert "sysrq" in done.stderr
