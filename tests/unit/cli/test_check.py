"""``labctl check`` as a person and as a program runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

Labctl = Callable[..., "subprocess.CompletedProcess[str]"]

LOST = (
    "[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, name=\x1b]0;pwned\x07x, "
    "GPU has fallen off the bus.\n"
)
CALM = "[Sun Feb 23 16:24:18 2025] usb 1-1: new device\n"
INVENTORY = """\
hosts:
  off: {address: 127.0.0.1, port: 1}
  nowhere: {virtual: box}
"""


@pytest.fixture
def lost(tmp_path: Path) -> str:
    path = tmp_path / "dmesg.txt"
    path.write_text(LOST)
    return str(path)


def test_a_log_with_a_lost_card(labctl: Labctl, lost: str) -> None:
    said = labctl("check", "--replay", lost)
    assert said.returncode == 1, said.stderr
    assert "CRITICAL" in said.stdout
    assert "Xid 79 (GPU has fallen off the bus)" in said.stdout
    assert "power the machine off and on" in said.stdout
    assert "\x1b" not in said.stdout


def test_a_calm_log(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "calm").write_text(CALM)
    said = labctl("check", "--replay", "calm")
    assert (said.returncode, said.stderr) == (0, "")
    assert "FINE" in said.stdout


def test_this_machine_as_json_with_facts(labctl: Labctl) -> None:
    said = labctl("check", "--json", "--facts")
    assert said.returncode in (0, 1), said.stderr
    document = json.loads(said.stdout)
    assert document["schema"] == "labctl.check/1"
    (host,) = document["hosts"]
    assert host["host"] == "local"
    assert host["judged"] > 40
    assert host["facts"]["memory"]["value"]["total"]["value"] > 2**20
    assert (said.returncode == 0) == (host["status"] in ("fine", "info"))


def test_json_without_facts_has_none(labctl: Labctl, lost: str) -> None:
    (host,) = json.loads(labctl("check", "--replay", lost, "--json").stdout)["hosts"]
    assert "facts" not in host
    assert [one["rule"] for one in host["findings"]] == ["xid"]


def test_other_forms(labctl: Labctl, lost: str) -> None:
    plugin = labctl("check", "--replay", lost, "--nagios")
    assert plugin.returncode == 2
    assert plugin.stdout.startswith("LABCTL CRITICAL - dmesg.txt: critical: ")
    metrics = labctl("check", "--replay", lost, "--prometheus")
    assert metrics.returncode == 1
    assert 'labctl_check_up{host="dmesg.txt"} 1.0' in metrics.stdout
    page = labctl("check", "--replay", lost, "--html")
    assert page.returncode == 1
    assert "Xid 79" in page.stdout
    cases = labctl("check", "--replay", lost, "--junit")
    assert cases.returncode == 1
    assert ElementTree.fromstring(cases.stdout).get("failures") == "1"


def test_hosts_that_are_off(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text(INVENTORY)
    said = labctl("check", "all", "--timeout", "20")
    assert said.returncode == 3, said.stderr
    assert "refused" in said.stdout
    assert "labctl lab up nowhere" in said.stdout
    assert "2 hosts in" in said.stdout
    document = json.loads(labctl("check", "all", "--json").stdout)
    assert [host["host"] for host in document["hosts"]] == ["nowhere", "off"]
    assert document["summary"]["unreachable"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--json", "--nagios"), "exclude each other"),
        (("--junit", "--prometheus"), "exclude each other"),
        (("x", "--replay", "."), "a recording has its own hosts"),
        (("--replay", "nothing"), "does not exist"),
        (("--replay", "."), "no recording is there"),
        (("--watch", "1", "--json"), "goes with hosts alone"),
        (("nohost",), "inventory"),
        (("--timeout", "0"), "--timeout"),
    ],
)
def test_bad_usage(labctl: Labctl, arguments: tuple[str, ...], told: str) -> None:
    said = labctl("check", *arguments)
    assert said.returncode == 2
    assert told in said.stderr


def test_a_mistake_in_the_users_rules_is_named(labctl: Labctl, home: Path, lost: str) -> None:
    folder = home / ".config/labctl/rules"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "- {id: mine, when: 'a b', severity: info, says: s, action: a}"
    )
    said = labctl("check", "--replay", lost)
    assert said.returncode == 2
    assert "mine.yaml, rule 1 (mine)" in said.stderr


def test_record_then_replay(labctl: Labctl) -> None:
    live = labctl("check", "--record", "rec", "--json")
    assert "1 host recorded in rec" in live.stderr, live.stderr
    again = labctl("check", "--replay", "rec", "--json")
    assert again.returncode == live.returncode
    first, second = (json.loads(said.stdout)["hosts"][0] for said in (live, again))
    assert second["host"] == "host1"
    assert [one["rule"] for one in first["findings"]] == [one["rule"] for one in second["findings"]]


def test_watching_checks_again_until_it_is_ended(tmp_path: Path, home: Path) -> None:
    rules = home / ".config/labctl/rules"
    rules.mkdir(parents=True)
    (rules / "own.yaml").write_text(
        "- {id: up, when: system.uptime_s > 0, severity: info, says: it is up, action: a}\n"
    )
    command = [sys.executable, "-m", "labctl", "check", "local", "--watch", "0.1", "--verbose"]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "it is up" in line:
                break
        memory = home / ".local/state/labctl/check/local.json"
        first = memory.stat().st_mtime_ns
        end = time.monotonic() + 60
        while memory.stat().st_mtime_ns == first and time.monotonic() < end:
            time.sleep(0.05)
        assert memory.stat().st_mtime_ns != first, "it did not check again"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 130
