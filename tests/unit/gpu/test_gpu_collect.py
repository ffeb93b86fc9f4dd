"""The script for a machine, run by a real shell with tools that behave and tools that do not."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_reports import xml_card, xml_process, xml_report

from labctl.facts.gpu import collect
from labctl.facts.gpu.collect import Collected
from labctl.facts.value import Known, Reason, Unknown
from labctl.gpu.reading import Reading
from labctl.gpu.show import as_data, cells, lines, remarks
from labctl.transport.script import RecordReader, assemble, record

MIB = 1 << 20


class Box:
    """A machine with nothing but the tools that a test puts on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tool(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def prints(self, name: str, text: str, status: int = 0) -> None:
        (self.folder / f"{name}.out").write_text(text)
        out = shlex.quote(str(self.folder / f"{name}.out"))
        self.tool(name, f"cat {out}\nexit {status}")

    def collect(self, *, tool_s: int = 30, bus: str = "") -> Collected:
        parts = collect.snippets(tool_s=tool_s)
        script = assemble("".join(record(part.name, part.text) for part in parts))
        # The script sets a PATH of its own; the tools of the test come first.
        text = script.text.replace('export PATH="', f'export PATH="{self.folder}:')
        done = subprocess.run(
            ["sh", "-s"], input=text.encode(), capture_output=True, timeout=120, check=True
        )
        reader = RecordReader(script.nonce)
        reader.feed(done.stdout)
        assert reader.finished
        outputs = {one.name: one.output for one in reader.records}
        assert set(outputs) == {"gpu bus", "gpu tools", "gpu log", "gpu slurm"}
        return collect.parse({**outputs, "gpu bus": bus})


@pytest.fixture
def box(tmp_path: Path) -> Box:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Box(folder)


NVIDIA_BUS = "0000:01:00.0 0x10de nvidia\n0000:02:00.0 0x10de nvidia\n"


def test_a_healthy_machine(box: Box) -> None:
    me = os.getpid()
    box.prints(
        "nvidia-smi",
        xml_report(
            xml_card(processes=f"<processes>{xml_process(me)}</processes>", used="1000 MiB"),
            xml_card(bus="02"),
        ),
    )
    found = box.collect(bus=NVIDIA_BUS)
    assert [card.error for card in found.facts.cards] == [None, None]
    holder = found.holders[me]
    assert holder.user == Known(_name(os.getuid()))
    assert isinstance(holder.started, Known)
    assert isinstance(holder.command, Known)
    assert Path(sys.executable).name in holder.command.value or "pytest" in holder.command.value
    shown = lines([Reading("here", found.facts, found.holders)])
    assert [line.verdict.state for line in shown] == ["busy", "free"]
    assert f"{holder.person} python" in cells(shown[0])[8]


def _name(uid: int) -> str:
    import pwd

    return pwd.getpwuid(uid).pw_name


def test_no_tool_and_no_card_is_no_fault(box: Box) -> None:
    box.tool("command", "")
    found = box.collect()
    assert found.facts.failure is None
    assert remarks(Reading("here", found.facts)) == ["here: no card"]


def test_a_card_on_the_bus_without_a_driver_is_not_free(box: Box) -> None:
    found = box.collect(bus="0000:01:00.0 0x10de \n0000:02:00.0 0x10de vfio-pci\n")
    (card,) = found.facts.cards
    assert card.pci == Known("0000:01:00.0")
    assert card.error is not None
    assert "given to a virtual machine" in found.facts.notes[0]
    assert lines([Reading("here", found.facts)])[0].verdict.state == "sick"


def test_a_tool_that_hangs_is_left_behind(box: Box, tmp_path: Path) -> None:
    """It ignores what it can ignore; the script goes on and says what it is."""
    pid = tmp_path / "pid"
    box.tool("nvidia-smi", f"echo $$ > {pid}\ntrap '' TERM HUP INT\necho '<?xml'\nexec sleep 600")
    found = box.collect(tool_s=1, bus=NVIDIA_BUS)
    assert found.facts.failure is not None
    assert found.facts.failure.reason is Reason.TIMED_OUT
    assert [line.verdict.state for line in lines([Reading("x", found.facts)])] == ["sick"] * 2
    assert not Path(f"/proc/{pid.read_text().strip()}/exe").exists()  # it was ended


@pytest.mark.parametrize(
    ("output", "status", "reason"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\n"
         "NVML library version: 550.144\n", 18, Reason.UNREADABLE),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9,
         Reason.ABSENT),
        ("", 12, Reason.ABSENT),
        ("", 15, Reason.LOST),
        ("\x1b[31m\x00\xff garbage \x9b", 0, Reason.UNREADABLE),
        ("Fehler: Karte nicht gefunden\n", 255, Reason.UNREADABLE),
        ("Failed to initialize NVML: Unknown Error\n", 255, Reason.UNREADABLE),
    ],
)  # fmt: skip
def test_a_driver_that_fails(box: Box, output: str, status: int, reason: Reason) -> None:
    box.prints("nvidia-smi", output, status)
    found = box.collect(bus=NVIDIA_BUS)
    assert found.facts.failure is not None
    assert found.facts.failure.reason is reason
    reading = Reading("here", found.facts)
    assert {line.verdict.state for line in lines([reading])} == {"sick"}
    assert as_data([reading], lines([reading]))["hosts"]


def test_one_of_eight_cards_is_lost(box: Box) -> None:
    cards = [xml_card(bus=f"{at:02x}", uuid=f"GPU-{at}") for at in range(1, 8)]
    box.prints(
        "nvidia-smi",
        "Unable to determine the device handle for GPU 0000:08:00.0: GPU is lost.  Reboot\n"
        + xml_report(*cards, attached=8),
        15,
    )
    bus = "".join(f"0000:{at:02x}:00.0 0x10de nvidia\n" for at in range(1, 9))
    found = box.collect(bus=bus)
    shown = lines([Reading("here", found.facts)])
    assert [line.verdict.state for line in shown] == ["free"] * 7 + ["sick"]
    assert shown[-1].unit.name == "0000:08:00.0"
    assert "GPU is lost" in shown[-1].verdict.why


def test_a_card_that_the_driver_forgets_is_lost(box: Box) -> None:
    box.prints("nvidia-smi", xml_report(xml_card(), attached=1))
    found = box.collect(bus=NVIDIA_BUS)
    shown = lines([Reading("here", found.facts)])
    assert [line.verdict.state for line in shown] == ["free", "sick"]


def test_half_a_document(box: Box) -> None:
    whole = xml_report(xml_card(), xml_card(bus="02"))
    box.prints("nvidia-smi", whole[: whole.rindex("<utilization>")])
    shown = lines([Reading("here", box.collect(bus=NVIDIA_BUS).facts)])
    assert [line.verdict.state for line in shown] == ["free", "unknown"]


def test_a_hostile_process_name_stays_one_harmless_line(box: Box) -> None:
    name = "\x1b]0;owned\x07<b>\nSTATUS 0\nPEOPLE\nP 1 uid 0 &"
    report = xml_report(
        xml_card(processes=f"<processes>{xml_process(4194304, name)}</processes>", used="1 GiB")
    )
    box.prints("nvidia-smi", report)
    found = box.collect(bus=NVIDIA_BUS[: NVIDIA_BUS.index("\n") + 1])
    (line,) = lines([Reading("here", found.facts, found.holders)])
    assert line.verdict.state == "busy"
    text = "".join(cells(line))
    assert "\x1b" not in text
    assert "\n" not in text


def test_other_vendors(box: Box, tmp_path: Path) -> None:
    box.prints("rocm-smi", 'WARNING: x\n{"card0": {"GPU use (%)": "7", "Card series": "MI"}}\n')
    found = box.collect()
    (card,) = found.facts.cards
    assert (card.vendor, card.utilisation) == (Known("AMD"), Known(7.0))


def test_an_answer_that_broke_off_before_the_cards() -> None:
    found = collect.parse({"gpu bus": NVIDIA_BUS})
    assert found.facts.failure is not None
    assert found.facts.failure.reason is Reason.LOST
    assert {line.verdict.state for line in lines([Reading("x", found.facts)])} == {"sick"}
    assert all(isinstance(card.memory_used, Unknown) for card in found.facts.cards)
