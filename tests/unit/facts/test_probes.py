"""Probes on this machine, on recorded output, and on garbage."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.facts.machine import cpu, disks, driver, gpu, kernel_log, memory, sensors, smart, units
from labctl.facts.machine.clock import Clock, control_line
from labctl.facts.machine.clock import parse as parse_clock
from labctl.facts.machine.disks import Disks
from labctl.facts.machine.memory import Memory
from labctl.facts.machine.probe import Probe, Section, Sections, all_probes
from labctl.facts.machine.reading import Reading, understand
from labctl.facts.machine.system import System
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Known, Reason, Unknown, to_json
from labctl.health.judge import judge
from labctl.health.rules_file import shipped_rules
from labctl.procs import find_by_word

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]
PROBES = {probe.name: probe for probe in all_probes()}


@pytest.fixture(scope="module")
def outputs() -> dict[str, str]:
    """Return what each snippet prints on this machine."""
    said = {}
    for name, probe in PROBES.items():
        run = subprocess.run(
            ["sh", "-s"],
            input=(PROLOGUE + "(\n" + probe.snippet + "\n) </dev/null 2>/dev/null\n").encode(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        said[name] = run.stdout.decode(errors="replace")
    return said


@pytest.mark.parametrize("name", PROBES)
def test_a_snippet_prints_sections_that_end(outputs: dict[str, str], name: str) -> None:
    found = Sections(outputs[name]).all("")
    assert found
    assert all(section.status is not None for section in found.values()), outputs[name]


@pytest.mark.parametrize("name", PROBES)
def test_facts_of_this_machine_are_json(outputs: dict[str, str], name: str) -> None:
    data = to_json(PROBES[name].parse(outputs[name]))
    assert isinstance(data, dict)
    assert data
    # Whatever is not known here is not known for a reason that is none of ours.
    assert '"unreadable"' not in str(data).replace("'", '"'), data


@pytest.mark.parametrize("name", PROBES)
def test_a_snippet_is_posix_and_runs_under_other_shells(name: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(PROLOGUE + PROBES[name].snippet)
    for shell in (["bash", "--posix", "-n"], ["dash", "-n"], ["busybox", "sh", "-n"]):
        if subprocess.run(["which", shell[0]], capture_output=True, check=False).returncode:
            continue
        checked = subprocess.run([*shell, str(script)], capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", PROBES)
@given(text=st.text())
@settings(max_examples=40, deadline=None)
def test_no_garbage_defeats_a_parser(name: str, text: str) -> None:
    to_json(PROBES[name].parse(text))


@pytest.mark.parametrize("name", PROBES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_damage_defeats_a_parser(
    outputs: dict[str, str], name: str, data: st.DataObject
) -> None:
    """Real output, cut off and with a piece replaced, as a dying or a rogue machine sends it."""
    text = outputs[name]
    cut = data.draw(st.integers(0, len(text)))
    at = data.draw(st.integers(0, cut))
    piece = data.draw(st.text(max_size=20))
    to_json(PROBES[name].parse(text[:at] + piece + text[at + len(piece) : cut]))


@pytest.mark.parametrize("name", PROBES)
def test_nothing_said_is_never_a_value(name: str) -> None:
    """A probe that printed nothing knows nothing, except what its reader adds."""
    assert '"value"' not in str(to_json(PROBES[name].parse(""))).replace("'", '"')


def test_the_same_facts_as_psutil(outputs: dict[str, str]) -> None:
    found = memory.parse(outputs["memory"])
    assert isinstance(found, Memory)
    assert found.total == Known(psutil.virtual_memory().total)
    assert found.swap_total == Known(psutil.swap_memory().total)
    system = PROBES["system"].parse(outputs["system"])
    assert isinstance(system, System)
    assert system.cpus == Known(psutil.cpu_count())
    mounts = disks.parse(outputs["disks"]).mounts
    assert isinstance(mounts, Known)
    root = next(mount for mount in mounts.value if mount.path == "/")
    usage = psutil.disk_usage("/")
    assert root.size == Known(usage.total)
    assert isinstance(root.used_share, Known)
    assert abs(root.used_share.value * 100 - usage.percent) < 1


# -- deadlines -----------------------------------------------------------------------------------


def test_a_command_that_hangs_is_left(sh: Shell) -> None:
    said = sh(PROLOGUE + "( part a 1 sleep 600\npart b 5 echo hi ) </dev/null 2>/dev/null")
    found = Sections(said.stdout.decode())
    assert found["a"].trouble("sleep") == Unknown(Reason.TIMED_OUT, "sleep did not end in time")
    assert found["b"] == Section(["hi"], 0)


def test_no_process_is_left_behind(sh: Shell, tmp_path: Path) -> None:
    """Neither the command that was given up, nor what watched over the others."""
    naps = [f"61{number}.{os.getpid()}" for number in range(2)]
    body = f"part a 1 sleep {naps[0]}\n" + f"part b {naps[1]} true\n" * 60
    sh(PROLOGUE + f"( {body} ) </dev/null 2>/dev/null")
    end = time.monotonic() + 30
    while found := [nap for nap in naps if _runs(nap)]:
        assert time.monotonic() < end, found
        time.sleep(0.05)


def _runs(argument: str) -> bool:
    return bool(find_by_word(argument))


def test_a_file_system_that_hangs_is_one_fact_and_delays_no_other(
    sh: Shell, tmp_path: Path
) -> None:
    """`stat` never comes back from the server's share, which is how a dead NFS server looks."""
    (tmp_path / "mounts").write_text(
        "/dev/root / ext4 rw 0 0\nserver:/home /ho\\040me nfs4 rw 0 0\n"
    )
    program = tmp_path / "bin" / "stat"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = '/ho me' ] && exec sleep 600\n"
        'exec /usr/bin/stat "$@"\n'
    )
    program.chmod(0o755)
    snippet = disks.PROBE.snippet.replace("/proc/self/mounts", str(tmp_path / "mounts")).replace(
        "within 3 ", "within 1 "
    )
    said = sh(f"PATH={program.parent}:$PATH\n{PROLOGUE}( {snippet} ) </dev/null 2>/dev/null")
    found = disks.parse(said.stdout.decode())
    assert isinstance(found, Disks)
    assert isinstance(found.mounts, Known)
    root, home = found.mounts.value
    assert isinstance(root.size, Known)
    assert home.path == "/ho me"
    assert home.size == Unknown(Reason.TIMED_OUT, "the file system does not answer")


# -- single parsers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "sent", "received", "offset"),
    [
        ("1000.500", 1000.0, 1001.0, 0.0),
        ("1000.000", 1040.0, 1040.5, -40.0),
        ("1100.5", 1040.0, 1040.5, 60.0),
        ("1040", 1040.9, 1041.5, 0.0),  # cut to whole seconds
    ],
)
def test_the_clock_is_off_by_what_lies_outside_of_the_question(
    theirs: str, sent: float, received: float, offset: float
) -> None:
    found = parse_clock(f"[now]\n{theirs}\n[now=0]\n" + control_line(sent, received))
    assert isinstance(found, Clock)
    assert isinstance(found.offset_s, Known)
    assert found.offset_s.value == pytest.approx(offset)


@pytest.mark.parametrize(
    ("line", "age"),
    [
        ("[  100.500000] NVRM: Xid (PCI:0000:9B:00): 79, pid=1, GPU has fallen off the bus.", 900),
        ("[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, GPU has fallen", None),
        ("2025-02-23T16:24:18,283302+00:00 NVRM: Xid (PCI:0000:9b:00): 79, pid=1, GPU", 1000),
        ("kern  :warn  : 2025-02-23T16:24:18,28+00:00 NVRM: Xid (PCI:0000:9b:00): 79, p", 1000),
        ("2025-02-23T17:24:18+0100 host kernel: NVRM: Xid (PCI:0000:9b:00): 79, pid=1", 1000),
    ],
)
def test_xid_lines_with_any_time(line: str, age: float | None) -> None:
    then = 1740327858.0  # 2025-02-23 16:24:18 UTC
    found = kernel_log.from_lines([line], now=then + 1000, uptime=1000.5)
    assert isinstance(found.xids, Known)
    (xid,) = found.xids.value
    assert (xid.code, xid.pci, xid.count) == (79, "0000:9b:00", 1)
    if age is not None:
        assert xid.age_s == Known(pytest.approx(age))


def test_failed_units_and_a_machine_without_systemd() -> None:
    text = "[state]\ndegraded\n[state=1]\n[failed]\na.service loaded failed failed A\n[failed=0]\n"
    assert units.parse(text).failed == Known(("a.service",))
    gone = units.parse("[state]\noffline\n[state=1]\n").failed
    assert isinstance(gone, Unknown)
    assert gone.reason is Reason.ABSENT


def test_where_there_is_no_card_nothing_more_is_asked(outputs: dict[str, str]) -> None:
    found = driver.parse("[pci]\n[pci=0]\n[packages]\n[packages=0]\n[none]\n[none=0]\n")
    assert found.cards == Known(())
    assert isinstance(found.library, Unknown)
    assert found.library.reason is Reason.ABSENT
    # Cut off before that word, it is not known.
    cut = driver.parse("[pci]\n[pci=0]\n[packages]\n").library
    assert isinstance(cut, Unknown)
    assert cut.reason is Reason.LOST


def test_newest_kernel_is_by_number_and_not_by_letter() -> None:
    releases = ["6.1.0-9-amd64", "6.1.0-21-amd64", "5.10.0-30-amd64"]
    assert max(releases, key=driver.natural) == "6.1.0-21-amd64"


def test_a_driver_and_a_kernel_that_waits_for_the_next_boot() -> None:
    text = """\
[pci]
0000:01:00.0 nvidia
[pci=0]
[loaded]
535.154.05
[loaded=0]
[nouveau]
[nouveau=1]
[uname]
6.1.0-18-amd64
[uname=0]
[packages]
ii  nvidia-driver
rc  nvidia-old
[packages=0]
[boot]
6.1.0-18-amd64
6.1.0-21-amd64
[boot=0]
[kernels]
6.1.0-18-amd64|yes|535.154.05
6.1.0-21-amd64|no|
[kernels=0]
[library]
/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.144.03
[library=0]
[secure boot]
  22   0   0   0   1
[secure boot=0]
[upgrades]
Inst libnvidia-ml1 [535] (550 Debian:12/stable [amd64])
Inst bash [5] (6 Debian)
[upgrades=0]
[unattended]
Unattended='1'
[unattended=0]
[holders]
  4711 ada   python3 train
[holders=0]
[virt]
none
[virt=1]
"""
    found = driver.parse(text)
    assert found.cards == Known(("0000:01:00.0",))
    assert found.bound == Known(("nvidia",))
    assert (found.loaded, found.library) == (Known("535.154.05"), Known("550.144.03"))
    assert found.packages == Known(("nvidia-driver",))
    assert found.nouveau == Known(False)
    assert isinstance(found.next, Known)
    assert found.next.value.release == "6.1.0-21-amd64"
    assert isinstance(found.next.value.module, Unknown)
    assert not found.next.value.headers
    assert found.secure_boot == Known(True)
    assert found.upgrades == Known(("libnvidia-ml1",))
    assert found.unattended == Known(True)
    assert found.holders == Known((driver.Holder(4711, "ada", "python3 train"),))
    assert found.container == Known("none")


def test_cards_by_nvidia_smi_of_which_one_is_lost() -> None:
    report = (
        "<nvidia_smi_log><driver_version>550.1</driver_version><attached_gpus>1</attached_gpus>"
        '<gpu id="00000000:01:00.0"><product_name>A</product_name></gpu></nvidia_smi_log>'
    )
    lost = "Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost."
    bus = "0000:01:00.0 0x10de nvidia\n0000:02:00.0 0x10de nvidia\n0000:03:00.0 0x10de nvidia"
    found = gpu.parse(
        f"[tool]\nnvidia-smi\n[tool=0]\n[bus]\n{bus}\n[bus=0]\n[said]\n{lost}\n{report}\n[said=15]\n"
    )
    assert (found.status, found.driver) == (Known(15), Known("550.1"))
    assert isinstance(found.cards, Known)
    assert [card.name for card in found.cards.value] == [Known("A")]
    assert isinstance(found.unread, Known)
    assert [(card.pci, card.reason) for card in found.unread.value] == [
        ("0000:02:00.0", "lost"),
        ("0000:03:00.0", "lost"),
    ]


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (124, "", Reason.TIMED_OUT),
        (18, "Failed to initialize NVML: Driver/library version mismatch", Reason.UNREADABLE),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", None),
        (0, "\x00\x1b garbage <<<", Reason.UNREADABLE),
    ],
)
def test_nvidia_smi_that_fails(status: int, said: str, reason: Reason | None) -> None:
    text = "[tool]\nnvidia-smi\n[tool=0]\n[bus]\n0000:01:00.0 0x10de nvidia\n[bus=0]\n"
    found = gpu.parse(f"{text}[said]\n{said}\n[said={status}]\n")
    assert isinstance(found.cards, Unknown)
    assert found.cards.reason is (reason or Reason.ABSENT)
    assert isinstance(found.unread, Unknown)


def test_no_tool_and_no_card_is_no_trouble() -> None:
    found = gpu.parse("[tool]\n\n[tool=0]\n[bus]\n[bus=0]\n[said]\n[said=127]\n")
    assert found.cards == Known(())
    assert isinstance(found.tool, Unknown)


def test_smart_report_of_nvme_and_of_a_disk() -> None:
    nvme = smart.read_report(
        "/dev/nvme0",
        '{"model_name": "X", "smart_status": {"passed": false}, "temperature": {"current": 41},'
        ' "nvme_smart_health_information_log": {"percentage_used": 97, "media_errors": 3}}',
    )
    assert (nvme.passed, nvme.wear, nvme.media_errors) == (Known(False), Known(0.97), Known(3))
    disk = smart.read_report(
        "/dev/sda",
        '{"ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": 8}},'
        ' {"id": 197, "raw": {"value": 1}}, {"id": 9, "raw": {"value": 70000}}]}}',
    )
    assert disk.bad_sectors == Known(9)
    assert isinstance(disk.passed, Unknown)


def test_a_probe_is_found_by_being_there() -> None:
    assert all(isinstance(probe, Probe) for probe in all_probes())
    assert [probe.order for probe in all_probes()] == sorted(p.order for p in all_probes())
    assert {"clock", "disks", "driver", "memory"} <= set(PROBES)


def test_processors_of_which_some_are_off() -> None:
    text = (
        "[model]\nmodel name\t: Test  CPU\n[model=0]\n[present]\n0-3,8-11\n[present=0]\n"
        "[online]\n0-2\n[online=0]\n[throttled]\n3\n4711\n[throttled=0]\n"
        "[governor]\npowersave\nperformance\npowersave\n[governor=0]\n"
    )
    found = cpu.parse(text)
    assert (found.model, found.present, found.online) == (Known("Test CPU"), Known(8), Known(3))
    assert (found.throttled, found.governor) == (Known(4711), Known("performance, powersave"))
    bare = cpu.parse("[present]\nnone\n[present=0]\n[throttled]\n[throttled=0]\n")
    assert isinstance(bare.present, Unknown)
    assert bare.present.reason is Reason.UNREADABLE
    assert isinstance(bare.throttled, Unknown)
    assert bare.throttled.reason is Reason.ABSENT


@pytest.mark.parametrize("chips", [False, True])
def test_zones_count_where_there_are_no_chips(sh: Shell, tmp_path: Path, chips: bool) -> None:
    files = {"thermal/thermal_zone0/type": "cpu-thermal", "thermal/thermal_zone0/temp": "48312",
             "thermal/thermal_zone0/trip_point_0_type": "passive",
             "thermal/thermal_zone0/trip_point_0_temp": "80000",
             "thermal/thermal_zone0/trip_point_1_type": "critical",
             "thermal/thermal_zone0/trip_point_1_temp": "110000"}  # fmt: skip
    if chips:
        files |= {"hwmon/hwmon0/name": "coretemp", "hwmon/hwmon0/temp1_label": "Package",
                  "hwmon/hwmon0/temp1_input": "51000"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    snippet = sensors.PROBE.snippet.replace("/sys/class", str(tmp_path))
    found = sensors.parse(sh(f"( {snippet} ) 2>/dev/null").stdout.decode()).temperatures
    assert isinstance(found, Known)
    (one,) = found.value
    if chips:
        assert (one.name, one.celsius) == ("coretemp Package", Known(51.0))
    else:
        assert (one.name, one.celsius, one.critical) == ("cpu-thermal", Known(48.312), Known(110.0))


# -- JSON of what is sent along -------------------------------------------------------------------

MEMORY = {
    "total": {"value": 100}, "available": {"value": 50}, "available_share": {"value": 1},
    "swap_total": {"value": True}, "swap_used_share": {"unknown": "absent", "words": "none"},
    "oom_kills": {"unknown": "nonsense"},
}  # fmt: skip


def test_facts_as_json_are_checked_one_by_one() -> None:
    """A number for a share is one; a yes for a number, or a reason that is none, is unreadable."""
    text = f"[facts]\n{json.dumps({**MEMORY, 'more': 1})}\n[facts=0]\n"
    found = PROBES["memory"].read(text)
    assert isinstance(found, Memory)
    assert (found.total, found.available_share) == (Known(100), Known(1.0))
    assert found.swap_used_share == Unknown(Reason.ABSENT, "none")
    for fact in (found.swap_total, found.oom_kills):
        assert isinstance(fact, Unknown)
        assert fact.reason is Reason.UNREADABLE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "unknown", "total", "names", "x"]), inner)
    ),
    max_leaves=8,
)


@given(data=JSON, name=st.sampled_from(["load", "memory", "network", "sensors", "users"]))
@settings(max_examples=60, deadline=None)
def test_no_json_of_a_rogue_machine_defeats_a_reading(data: object, name: str) -> None:
    text = f"[facts]\n{json.dumps(data)}\n[facts=0]\n"
    part = understand(Reading(0.0, {name: text}), [PROBES[name]]).parts[name]
    json.dumps(to_json(part), allow_nan=False)
    judge({name: part}, shipped_rules())
