"""The boot loader of a board."""

import re

import pytest

from labctl.boards.bench import Bench
from labctl.boards.state import State


@pytest.fixture
def uboot(board: Bench) -> Bench:
    if board.uboot is None:
        pytest.skip("its model describes no U-Boot")
    board.boot("uboot")
    return board


def test_boots_to_the_prompt(uboot: Bench) -> None:
    uboot.boot("uboot", force=True)
    finding = uboot.state()
    assert finding.state is State.UBOOT
    assert finding.proved


def test_crc32_prints_a_prompt_and_confuses_nobody(uboot: Bench) -> None:
    start = uboot.model.data["memory"]["ram"]["base"]
    answers = {uboot.run(f"crc32 {start:#x} 0x100", where="uboot").output for _ in range(20)}
    assert len(answers) == 1
    assert re.search(rb"==> [0-9a-f]{8}", answers.pop())
    assert uboot.run("echo on", where="uboot").output == b"on\n"


def test_variables_with_nasty_values(uboot: Bench) -> None:
    for value in ("a b", "=> ", "#x", "1;2", "$foo"):
        uboot.run(f"setenv labctl_test '{value}'", where="uboot")
        shown = uboot.run("printenv labctl_test", where="uboot")
        assert shown.output.decode() == f"labctl_test={value}\n"
        assert shown.exit_code == 0
    uboot.run("setenv labctl_test", where="uboot")
    assert uboot.run("printenv labctl_test", where="uboot").exit_code == 1
