"""Recordings: nothing that names anybody, and the same findings."""

import json
import os
import re
from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.facts.machine.probe import all_probes
from labctl.facts.machine.reading import Reading, read
from labctl.facts.value import Reason, Unknown
from labctl.health.mask import Masker
from labctl.health.recording import record, replay
from labctl.health.report import HostReport
from labctl.health.rules_file import shipped_rules
from labctl.health.run import judged
from labctl.transport.local import LocalSession

# Beside the checkout, where the project is worked on with recordings of other people's machines.
SAMPLES = Path(os.environ.get("LABCTL_SAMPLES") or Path(__file__).parents[4] / "shared" / "samples")

SECRET = """\
[uname]
gpu-lab7.example.edu 6.1.0-18-amd64 x86_64
[uname=0]
"""
OUTPUTS = {
    "system": SECRET,
    "users": "[who]\nada      pts/0  2026-01-01 10:00 (203.0.113.77)\n[who=0]\n",
    "driver": "[holders]\n 4711 grace  python3\n[holders=0]\n[loaded]\n535.154.05\n[loaded=0]\n",
    "disks": "[mounts]\nnas.example.edu:/home /home nfs4 rw,addr=198.51.100.7 0 0\n[mounts=0]\n",
    "kernel_log": (
        "[dmesg]\n[   12.5] NVRM: GPU at PCI:0000:9b:00: GPU-509665ad-b600-ac93-3616-d754b23d636d\n"
        "[   12.6] NVRM: GPU Board Serial Number: 1650124014249\n"
        "[   13.0] eth0: 0c:42:a1:12:34:56 up, host gpu-lab7\n"
        "[   14.0] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, name=/home/linus/train, "
        "fallen off the bus\n"
        "[dmesg=0]\n[now]\n1700000000\n[now=0]\n[uptime]\n99.0 1.0\n[uptime=0]\n"
    ),
    "smart": '[scan]\n/dev/sda\n[scan=0]\n[drive /dev/sda]\n{"serial_number": "S3Z9NB0K", '
    '"smart_status": {"passed": false}, "wwn": {"naa": 5, "id": 21505998877}}\n'
    "[drive /dev/sda=0]\n",
    "serial": "[serial]\ndevice /dev/ttyUSB0\n"
    "link usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0 /dev/ttyUSB0\n[serial=0]\n",
    "network": "[routes]\neth0\t00000000\t014DA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "fe80000000000000020c29fffe123456 40 00000000000000000000000000000000 00 0 256 1 0 1 eth0\n"
    "[routes=0]\n",
    "gpu": "[tool]\nnvidia-smi\n[tool=0]\n[said]\n<nvidia_smi_log><gpu id='00000000:9B:00.0'>"
    "<uuid>GPU-509665ad-b600-ac93-3616-d754b23d636d</uuid><serial>1324419</serial>"
    "<reset_status><x>N/A</x></reset_status><gpu_recovery_action>GPU Reset</gpu_recovery_action>"
    "<process_name>/home/linus/train</process_name></gpu></nvidia_smi_log>\n[said=0]\n",
    "tools": "[glibc]\nglibc 2.36\n[glibc=0]\nfe80::20c:29ff:fe12:3456 at 10:24:18\n",
}
NAMES = [
    "gpu-lab7",
    "example.edu",
    "ada",
    "grace",
    "linus",
    "203.0.113.77",
    "198.51.100.7",
    "509665ad",
    "1650124014249",
    "1324419",
    "0c:42:a1:12:34:56",
    "S3Z9NB0K",
    "21505998877",
    "A50285BI",
    "014DA8C0",
    "fe80000000000000020c29fffe123456",
    "20c:29ff",
    "myhost",
]
KEPT = ["0000:9b:00", "535.154.05", "Xid", "6.1.0-18-amd64", "2.36", "10:24:18", "FT232R", "79"]


def test_names_and_ids_are_taken_out_and_the_rest_stays() -> None:
    outputs = {**OUTPUTS, "load": "myhost said: load of myhost\n"}
    masked = Masker(["myhost", "nas.example.edu"]).mask(outputs)
    text = "\n".join(masked.values())
    for name in NAMES:
        assert not re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", text), f"{name} in\n{text}"
    for word in KEPT:
        assert word in text, word
    assert masked["load"].count("host") == 2  # the same name, the same mask
    assert len(set(re.findall(r"host\d+", masked["load"]))) == 1


def test_what_the_collector_said_is_masked_and_still_read() -> None:
    """JSON of psutil and lines of NVML, as hosts with Python send them."""
    nvml = {
        "uuid": [0, "GPU-509665ad-b600-ac93-3616-d754b23d636d"],
        "serial": [0, "1324419"],
        "pci": [0, "00000000:9B:00.0"],
        "recovery_action": [0, "Reset"],
        "processes": [0, [{"pid": 7, "kind": "C", "name": "/home/linus/train"}]],
    }
    outputs = {
        "users": '[facts]\n{"names": {"value": ["ada", "root"]}, "sessions": {"value": 2}}\n'
        "[facts=0]\n",
        "gpu": '[tool]\nNVML\n[tool=0]\n[said]\n{"system": {"driver": [0, "535.154.05"]}}\n'
        + json.dumps({"card": 0, "facts": nvml})
        + '\n{"end": 1}\n[said=0]\n',
        "kernel_log": OUTPUTS["kernel_log"].replace("name=", "ada name="),
    }
    masked = Masker().mask(outputs)
    text = "\n".join(masked.values())
    for name in ("ada", "509665ad", "1324419", "linus"):
        assert not re.search(rf"(?<![\w]){name}(?![\w])", text), f"{name} in\n{text}"
    before = judged("h", Reading(0.0, outputs), shipped_rules()).verdict.findings
    after = judged("h", Reading(0.0, masked), shipped_rules()).verdict.findings
    assert [(one.rule, one.subject) for one in before] == [(one.rule, one.subject) for one in after]
    assert ("card-asks-for-action", "0000:9b:00.0") in [(one.rule, one.subject) for one in after]


def test_masking_twice_changes_nothing_that_rules_see() -> None:
    rules = shipped_rules()
    before = judged("h", Reading(0.0, OUTPUTS), rules).verdict
    after = judged("h", Reading(0.0, Masker(["myhost"]).mask(OUTPUTS)), rules).verdict
    assert [(one.rule, one.severity) for one in before.findings] == [
        (one.rule, one.severity) for one in after.findings
    ]
    assert {"xid", "drive-fails", "card-asks-for-action"} <= {one.rule for one in before.findings}


def test_this_machine_recorded_and_played_again(tmp_path: Path) -> None:
    rules = shipped_rules()
    reading = read(LocalSession(), deadline=60.0)
    live = judged("local", reading, rules)
    folder = tmp_path / "rec"
    assert record([live], folder) == [folder / "host1"]
    assert {path.stem for path in (folder / "host1").glob("*.txt")} == {
        probe.name for probe in all_probes()
    }
    for place in (folder, folder / "host1"):
        (again,) = replay(place, rules)
        assert again.at == live.at
        assert again.verdict.judged == live.verdict.judged
        assert [(one.rule, one.severity) for one in again.verdict.findings] == [
            (one.rule, one.severity) for one in live.verdict.findings
        ]
    node = os.uname().nodename
    for path in folder.rglob("*"):
        if path.is_file():
            assert not re.search(rf"(?<![\w-]){re.escape(node)}(?![\w-])", path.read_text())


def test_a_recording_keeps_that_it_was_cut_off(tmp_path: Path) -> None:
    cut = Reading(5.0, {"clock": ""}, Unknown(Reason.LOST, "ada's machine broke"), 1.0)
    record([HostReport("a", 0.0, error="a: off"), judged("b", cut, [])], tmp_path / "rec")
    (again,) = replay(tmp_path / "rec", shipped_rules())
    assert again.host == "host2"
    assert again.status == "incomplete"
    assert "ada" not in "".join(path.read_text() for path in (tmp_path / "rec").rglob("*.*"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="holds something already"):
        record([], tmp_path)


@pytest.mark.parametrize(
    "meta", ["", "[]", "{}", '{"at": "x"}', '{"at": 1, "seconds": 1, "missing": "bad"}']
)
def test_a_damaged_recording_is_named(tmp_path: Path, meta: str) -> None:
    (tmp_path / "reading.json").write_text(meta)
    with pytest.raises(UsageError, match="not what labctl writes"):
        list(replay(tmp_path, []))


def test_an_empty_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recording is there"):
        list(replay(tmp_path, []))


def test_a_log_of_a_kernel(tmp_path: Path) -> None:
    log = tmp_path / "dmesg.txt"
    log.write_bytes(
        b"[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 119, pid=7, name=x, Timeout\n"
        b"[Sun Feb 23 16:24:19 2025] NVRM: Xid (PCI:0000:9b:00): 119, pid=7, name=\xff\x1b[31m\n"
    )
    (report,) = replay(log, shipped_rules())
    (finding,) = report.verdict.findings
    assert (finding.rule, str(finding.severity), finding.subject) == (
        "xid",
        "critical",
        "0000:9b:00",
    )
    assert "2 times" in finding.says
    assert "gpu-reset" in finding.action


def test_a_card_that_is_gone_is_told_once_with_or_without_a_number(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = "[  1.0] NVRM: GPU 0000:9b:00.0: GPU has fallen off the bus.\n"
    number = "[  2.0] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, GPU has fallen off the bus.\n"
    for text, rule in ((words, "card-off-the-bus"), (words + number, "xid")):
        log.write_text(text)
        (report,) = replay(log, shipped_rules())
        assert [one.rule for one in report.verdict.findings] == [rule]


@pytest.mark.parametrize(
    ("name", "codes"), [("xid-119.log", {"119"}), ("xid-13-and-oom.log", {"13", "43"})]
)
def test_logs_of_other_peoples_machines(name: str, codes: set[str]) -> None:
    path = SAMPLES / "dmesg" / name
    if not path.is_file():
        pytest.skip(f"no recordings of other people's machines here ({path.parent.name}/{name})")
    (report,) = replay(path, shipped_rules())
    said = [one.says for one in report.verdict.findings if one.rule == "xid"]
    assert {text.split()[1] for text in said} == codes
    assert ("oom" in name) == ("killed-for-memory" in {o.rule for o in report.verdict.findings})
    assert json.dumps([one.says for one in report.verdict.findings])


_CARDS = sorted(
    path.relative_to(SAMPLES)
    for pattern in ("nvidia-smi-*/*", "rocm-smi/*", "snippets/cnmon*")
    for path in SAMPLES.glob(pattern)
) or [Path("nvidia-smi-xml/any.xml")]


@pytest.mark.parametrize("name", _CARDS, ids=str)
def test_cards_of_other_peoples_machines(name: Path) -> None:
    if not (SAMPLES / name).is_file():
        pytest.skip("no recordings of other people's machines here")
    reports = list(replay(SAMPLES / name, shipped_rules()))
    assert reports
    for report in reports:
        assert not [gap for gap in report.verdict.not_judged if gap.reason == "wrong_rule"]
        rules = {one.rule for one in report.verdict.findings}
        assert ("card-remap-pending" in rules) == name.name.endswith("a10")
        assert not rules & {"card-asks-for-action", "card-memory-errors", "card-remap-failed"}


def test_a_report_of_nvidia_smi(tmp_path: Path) -> None:
    (tmp_path / "smi.xml").write_text(
        "<nvidia_smi_log><attached_gpus>1</attached_gpus><gpu id='00000000:01:00.0'>"
        "<product_name>A</product_name><gpu_recovery_action>Node Reboot</gpu_recovery_action>"
        "<remapped_rows><remapped_row_failure>Yes</remapped_row_failure></remapped_rows>"
        "</gpu></nvidia_smi_log>"
    )
    (report,) = replay(tmp_path / "smi.xml", shipped_rules())
    assert report.host == "smi.xml"
    assert {one.rule for one in report.verdict.findings} == {
        "card-asks-for-action",
        "card-remap-failed",
    }
    assert {one.subject for one in report.verdict.findings} == {"0000:01:00.0"}


def test_a_report_of_smartctl(tmp_path: Path) -> None:
    (tmp_path / "disk.json").write_text(
        '{"smartctl": {}, "device": {"name": "/dev/sdb"}, "smart_status": {"passed": false}}'
    )
    (report,) = replay(tmp_path / "disk.json", shipped_rules())
    assert [(one.rule, one.subject) for one in report.verdict.findings] == [
        ("drive-fails", "/dev/sdb")
    ]


@pytest.mark.parametrize("text", ["", "{}", '{"jobs": []}', "hello\nworld\n", "\x00" * 99])
def test_what_is_no_recording_is_not_called_fine(tmp_path: Path, text: str) -> None:
    (tmp_path / "other").write_text(text)
    with pytest.raises(UsageError, match="not a recording that labctl knows"):
        list(replay(tmp_path / "other", []))


def test_in_a_folder_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text("[  1.0] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, gone\n")
    (tmp_path / "notes.txt").write_text("nothing of ours")
    (report,) = replay(tmp_path, shipped_rules())
    assert [one.rule for one in report.verdict.findings] == ["xid"]


@pytest.mark.parametrize(
    "said",
    [
        "Failed to initialize NVML: Driver/library version mismatch\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
        "that the latest NVIDIA driver is installed and running.\n",
    ],
)
def test_a_driver_that_fails_is_never_fine(tmp_path: Path, said: str) -> None:
    (tmp_path / "smi.txt").write_text(said)
    (report,) = replay(tmp_path / "smi.txt", shipped_rules())
    assert [one.rule for one in report.verdict.findings] == ["tool-cannot-read-cards"]
    assert report.status == "critical"
