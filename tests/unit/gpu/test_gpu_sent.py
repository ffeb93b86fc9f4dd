"""What is sent along to a host, beside the shell alone: the same facts, or the shell's."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpu_reports import GIB, card

from labctl.facts.gpu import collect
from labctl.facts.gpu.card import Card
from labctl.facts.gpu.collect import Collected
from labctl.facts.machine.disks import Disks
from labctl.facts.machine.gpu import Gpu
from labctl.facts.machine.load import Load
from labctl.facts.machine.memory import Memory
from labctl.facts.machine.network import Network
from labctl.facts.machine.probe import all_probes
from labctl.facts.machine.reading import Machine, Reading, read, understand, whole_script
from labctl.facts.machine.sensors import Sensors
from labctl.facts.machine.users import Users
from labctl.facts.sent.bundle import CARDS_S, Collector, prologue, source, start
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Fact, Known, Reason, Unknown, absent
from labctl.gpu.reading import Reading as Reading_
from labctl.gpu.show import cells, lines
from labctl.health.judge import judge
from labctl.health.rules_file import shipped_rules
from labctl.transport.local import LocalSession
from labctl.transport.script import RecordReader, assemble, record
from labctl.vlab.nvml.build import SCENARIO_VARIABLE

STANDS_IN = Path(__file__).with_name("nvidia_smi_of_nvml.py")
SCENARIO = "driver 999.10\n" + "".join(
    (
        card(0, "serial 123", "persistence 1", "power 250500", "ecc 1", "fan 30", "pcie_replays 9",
             f"process {os.getpid()} C {3 * GIB}", "link_speed 26562", "link 1 6 2 1 30 4",
             "link 0"),
        card(1, f"process 4194304 C {GIB}"),
    )
)  # fmt: skip


ASKED = {"clock", "disks", "gpu", "load", "memory", "network", "sensors", "users"}


RULES = shipped_rules()
NOTHING: dict[str, Fact[object]] = {probe.name: absent() for probe in all_probes()}


class Box:
    """This machine, with tools of the test's in front, and the simulated cards."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.folder = folder
        self.set = monkeypatch.setenv
        self.tool("python3", f'exec {sys.executable} "$@"')

    def cards(self, library: Path, scenario: str = SCENARIO) -> None:
        (self.folder / "scenario").write_text(scenario)
        self.set("LD_LIBRARY_PATH", str(library.parent))
        self.set(SCENARIO_VARIABLE, str(self.folder / "scenario"))
        self.tool("nvidia-smi", f'exec {sys.executable} {STANDS_IN} "$@"')

    def tool(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, text: str, nonce: str) -> RecordReader:
        text = text.replace('export PATH="', f'export PATH="{self.bin}:')
        done = subprocess.run(
            ["sh", "-s"], input=text.encode(), capture_output=True, timeout=120, check=True
        )
        reader = RecordReader(nonce)
        reader.feed(done.stdout)
        assert reader.finished
        return reader

    def collect(self, collector: Collector, *, cards_s: int = 60) -> Collected:
        parts = collect.snippets(collector=collector)
        script = assemble("".join(record(one.name, one.text) for one in parts))
        script = replace(script, text=script.text.replace(f" - {CARDS_S} ", f" - {cards_s} "))
        found = self.run(script.text, script.nonce)
        return collect.parse({one.name: one.output for one in found.records})

    def machine(self, collector: Collector, *names: str) -> Machine:
        """Ask what both can say; the other probes are the shell's in any case."""
        asked = {"clock", *names} if names else ASKED
        probes = [probe for probe in all_probes() if probe.name in asked]
        script = whole_script(collector, probes=probes)
        outputs = {one.name: one.output for one in self.run(script.text, script.nonce).records}
        assert asked <= set(outputs)
        return understand(Reading(0.0, outputs), probes)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(tmp_path, monkeypatch)


def test_both_ways_to_the_cards_of_one_box_agree(box: Box, library: Path) -> None:
    """What both tell is the same; NVML tells more, and nothing less but one field of XML."""
    box.cards(library)
    python, shell = box.collect(Collector.PYTHON), box.collect(Collector.SH)
    assert (python.facts.source, shell.facts.source) == ("NVML", "nvidia-smi -q -x")
    assert python.facts.driver == shell.facts.driver
    compared = 0
    for one, other in zip(python.facts.cards, shell.facts.cards, strict=True):
        assert one.error is other.error is None
        for name in vars(one).keys() - {"processes", "links"}:
            left, right = getattr(one, name), getattr(other, name)
            if isinstance(right, Known):
                # nvidia-smi rounds memory to MiB.
                if isinstance(right.value, int) and right.value > 1 << 20:
                    assert left.value // (1 << 20) == right.value // (1 << 20), name
                else:
                    assert left == right, name
                compared += 1
        assert pids(one) == pids(other) != []
    assert compared > 30
    assert python.holders.keys() == shell.holders.keys() == {os.getpid(), 4194304}
    assert python.holders[os.getpid()].person == shell.holders[os.getpid()].person
    up, down = links(python.facts.cards[0]), links(shell.facts.cards[0])
    assert [(link.active, link.speed, link.replays, link.recoveries, link.crc) for link in up] == [
        (link.active, link.speed, link.replays, link.recoveries, link.crc) for link in down
    ]
    second = python.facts.cards[1].links, shell.facts.cards[1].links
    assert [fact.reason for fact in second if isinstance(fact, Unknown)] == [
        Reason.NOT_SUPPORTED
    ] * 2


def pids(one: Card) -> list[int]:
    assert isinstance(one.processes, Known)
    return [process.pid for process in one.processes.value]


def links(one: Card) -> Any:
    assert isinstance(one.links, Known)
    return one.links.value


def close(one: object, other: object, share: float) -> bool:
    return (
        isinstance(one, Known)
        and isinstance(other, Known)
        and bool(one.value == pytest.approx(other.value, rel=share, abs=share))
    )


def test_both_ways_to_the_facts_of_one_machine_agree(box: Box, library: Path) -> None:
    """psutil and NVML on one side, POSIX sh, /proc and nvidia-smi on the other."""
    box.cards(library)
    python, shell = box.machine(Collector.PYTHON), box.machine(Collector.SH)
    for name, part in python.parts.items():
        assert isinstance(part, Known), (name, part)
    for kind, name, moving in (
        (Memory, "memory", {"available", "available_share", "swap_used_share", "oom_kills"}),
        (Load, "load", {"load1", "load15", "cpu_some", "memory_full", "io_full"}),
        (Users, "users", set()),
    ):
        one, other = (vars(value(found, name, kind)) for found in (python, shell))
        assert {key: one[key] for key in one.keys() - moving} == {
            key: other[key] for key in other.keys() - moving
        }
        for key in moving & one.keys():
            assert type(one[key]) is type(other[key]), key
            if isinstance(one[key], Unknown):
                assert one[key].reason is other[key].reason
    one, other = (value(found, "memory", Memory) for found in (python, shell))
    assert close(one.available_share, other.available_share, 0.5)
    first, second = (value(found, "sensors", Sensors).temperatures for found in (python, shell))
    if isinstance(second, Known):
        assert isinstance(first, Known)
        assert sorted((one.name, one.critical) for one in first.value) == sorted(
            (one.name, one.critical) for one in second.value
        )
    first, second = (value(found, "network", Network) for found in (python, shell))
    assert first.default_route == second.default_route
    assert isinstance(first.interfaces, Known)
    assert isinstance(second.interfaces, Known)
    assert [(one.name, one.state, one.speed_mbit) for one in first.interfaces.value] == [
        (one.name, one.state, one.speed_mbit) for one in second.interfaces.value
    ]
    first, second = (value(found, "disks", Disks).mounts for found in (python, shell))
    assert isinstance(first, Known)
    assert isinstance(second, Known)
    assert [(one.path, one.device, one.size, one.read_only) for one in first.value] == [
        (one.path, one.device, one.size, one.read_only) for one in second.value
    ]
    first, second = (value(found, "gpu", Gpu) for found in (python, shell))
    assert (first.tool, second.tool) == (Known("NVML"), Known("nvidia-smi"))
    assert isinstance(first.cards, Known)
    assert isinstance(second.cards, Known)
    left, right = first.cards.value[0], second.cards.value[0]
    assert (left.uuid, left.link_crc) == (right.uuid, right.link_crc)
    assert isinstance(left.link_crc, Known)


def value(found: Machine, name: str, kind: type[Any]) -> Any:
    fact = found.get(name, kind)
    assert isinstance(fact, Known), fact
    return fact.value


@pytest.mark.parametrize(
    "python",
    [
        "exit 127",
        "echo 'Traceback: broken'; exit 1",
        'printf "\\n@$2 begin memory\\n[facts]\\n{"; kill -9 $$',
        'printf "\\n@$2 begin memory\\n[facts]\\n{}\\n[facts=0]\\n@$2 end 0\\n"; exit 1',
        "cat >/dev/null; exit 3",
    ],
)
def test_a_python_that_is_broken_costs_nothing(box: Box, python: str) -> None:
    """No interpreter, one that dies in mid answer, one without modules: the shell answers."""
    box.tool("python3", python)
    found = box.machine(Collector.PYTHON, "disks", "load", "memory")
    assert isinstance(value(found, "memory", Memory).total, Known)
    assert isinstance(value(found, "disks", Disks).mounts, Known)
    assert isinstance(value(found, "load", Load).load1, Known)


def test_nvml_that_cannot_be_had_leaves_the_tool_to_speak(box: Box, library: Path) -> None:
    box.cards(library, "return nvmlInit 18\n" + SCENARIO)
    said = "Failed to initialize NVML: Driver/library version mismatch"
    box.tool("nvidia-smi", f"echo '{said}'; exit 18")
    found = box.collect(Collector.PYTHON).facts
    assert found.failure == Unknown(Reason.UNREADABLE, said)
    gpu = value(box.machine(Collector.PYTHON, "gpu"), "gpu", Gpu)
    assert (gpu.tool, gpu.status, gpu.said) == (Known("nvidia-smi"), Known(18), Known(said))


@pytest.mark.parametrize(
    ("code", "reason", "rule"),
    [
        (4, Reason.NO_PERMISSION, "tool-cannot-read-cards"),
        (15, Reason.LOST, "card-lost"),
        (18, Reason.UNREADABLE, "tool-cannot-read-cards"),
        (999, Reason.UNREADABLE, "tool-cannot-read-cards"),
    ],
)
def test_what_nvml_says_where_no_tool_says_it(
    box: Box, library: Path, code: int, reason: Reason, rule: str
) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has an nvidia-smi")
    box.cards(library, f"return nvmlInit {code}\n" + SCENARIO)
    (box.bin / "nvidia-smi").unlink()
    gpu = value(box.machine(Collector.PYTHON, "gpu"), "gpu", Gpu)
    assert (gpu.tool, gpu.status) == (Known("NVML"), Known(code))
    assert isinstance(gpu.cards, Unknown)
    assert gpu.cards.reason is reason
    # On a machine of which the bus is not known; the doctor says more where it is.
    assert rule in {one.rule for one in judge({**NOTHING, "gpu": Known(gpu)}, RULES).findings}


def test_no_driver_and_no_card_is_no_fault(box: Box, library: Path) -> None:
    box.cards(library, "return nvmlInit 9\n")
    (box.bin / "nvidia-smi").unlink()
    gpu = value(box.machine(Collector.PYTHON, "gpu"), "gpu", Gpu)
    assert gpu.cards == Known(())
    assert not judge({**NOTHING, "gpu": Known(gpu)}, RULES).findings


def test_a_call_into_nvml_that_never_returns(box: Box, library: Path) -> None:
    """What was read before it counts; the tool, which would hang as well, is not asked."""
    box.cards(library, SCENARIO + card(2, "hang nvmlDeviceGetPowerUsage"))
    box.tool("nvidia-smi", f"touch {box.folder}/asked")
    found = box.collect(Collector.PYTHON, cards_s=3)
    assert [one.error is None for one in found.facts.cards] == [True, True, False]
    assert found.facts.cards[2].error is not None
    assert found.facts.cards[2].error.reason is Reason.TIMED_OUT
    assert not (box.folder / "asked").exists()


@pytest.mark.parametrize("name", [b"\x1b]0;x\x07<b>\n@&", b"\xff\xc3("])
def test_a_hostile_process_name_by_either_way(box: Box, library: Path, name: bytes) -> None:
    """A real process under a name with an escape, a newline, HTML and a mark of our own script."""
    program = Path(os.fsdecode(os.fsencode(box.folder) + b"/" + name))
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([str(program), "600"])
    try:
        box.cards(library, f"driver 1.0\n{card(0, f'process {process.pid} C {GIB}')}")
        for collector in (
            (Collector.PYTHON, Collector.SH) if name.isascii() else (Collector.PYTHON,)
        ):
            found = box.collect(collector)
            (line,) = lines([Reading_("here", found.facts, found.holders)])
            assert line.verdict.state == "busy", collector
            assert not re.search(r"[\x00-\x1f\x7f]", "".join(cells(line)))
            assert found.holders.keys() == {process.pid}
            if collector is Collector.PYTHON:
                assert isinstance(found.facts.cards[0].processes, Known)
                (one,) = found.facts.cards[0].processes.value
                told = "" if name.isascii() else "it has no name here"  # to pynvml
                assert one.name == (
                    Unknown(Reason.UNREADABLE, told) if told else Known(program.name)
                )
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("part", "needed"),
    [
        ("machine", "usr/lib/python3/dist-packages/psutil"),
        ("machine", "usr/local/lib/python3.11/dist-packages/psutil"),
        ("cards", "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"),
        ("cards", "dev/nvidiactl"),
    ],
)
def test_python_is_not_started_where_it_has_nothing_to_add(
    tmp_path: Path, part: str, needed: str
) -> None:
    script = PROLOGUE + prologue(Collector.AUTO) + start(part, '"$N" 5', collector=Collector.AUTO)
    for word in ("/usr/", "/dev/nvidiactl"):
        script = script.replace(f" {word}", f" {tmp_path}{word}").replace(
            f"\n{word}", f"\n{tmp_path}{word}"
        )
    script = script.replace("command -v python3", f"command -v {tmp_path}/python3")
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "asked for: $*"; exit 3\n')
    python.chmod(0o755)

    def said() -> str:
        done = subprocess.run(
            ["sh", "-s"], input=f"N=x\n( {script}\necho $rich ) </dev/null", text=True,
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    assert said() == "127\n"
    (tmp_path / needed).mkdir(parents=True)
    assert said() == f"asked for: - x 5 {part}\n3\n"


@pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox sh"])
def test_what_is_sent_along_runs_in_every_shell(shell: str) -> None:
    """The command that `within` starts has the input that it was given: the file."""
    if not shutil.which(shell.split(maxsplit=1)[0]):
        pytest.skip(f"no {shell}")
    text = prologue(Collector.PYTHON)
    text += start("machine", '"$N" 5', collector=Collector.PYTHON, python=sys.executable)
    done = subprocess.run(
        [*shell.split(), "-s"], input=f"{PROLOGUE}N=x\nmain() {{\n{text}}}\nmain\necho $rich\n",
        capture_output=True, timeout=60, check=True, text=True,
    )  # fmt: skip
    assert "@x begin memory\n[facts]\n" in done.stdout
    assert done.stdout.endswith("\n0\n")


def test_the_file_is_python_of_old_hosts_and_knows_nothing_of_labctl() -> None:
    tree = ast.parse(source(), feature_version=(3, 7))
    texts = ast.literal_eval(tree.body[0].value)  # type: ignore[attr-defined]
    sent = {name for name, _ in texts}
    for name, text in texts:
        for node in ast.walk(ast.parse(text, feature_version=(3, 7))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("labctl"):
                names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
                assert names & sent, (name, node.module)


def test_this_machine_is_read_by_the_python_that_labctl_runs_in() -> None:
    reading = read(LocalSession(), deadline=60)
    data = json.loads(reading.outputs["memory"].split("\n")[1])
    assert set(data) == {"total", "available", "available_share", "swap_total", "swap_used_share",
                         "oom_kills"}  # fmt: skip
    plain = read(LocalSession(), deadline=60, collector=Collector.SH)
    assert "[meminfo]" in plain.outputs["memory"]
