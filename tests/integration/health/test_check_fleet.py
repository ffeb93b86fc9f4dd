"""``labctl check`` on light boxes: a real Debian with a real sshd each, over real SSH."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from virtual_lab import INVENTORY, Lab, MakeLab

pytestmark = pytest.mark.fleet

# Stands in for systemd-detect-virt on a box: the sshd that brought us here ends in mid script.
DIES = """#!/bin/sh
[ -e /run/die ] || { echo none; exit 1; }
pid=$$
while [ "$pid" -gt 1 ]; do
  parent=$(sed 's/.*) . //' /proc/$pid/stat | cut -d' ' -f1)
  case $(cat /proc/$pid/comm) in sshd) kill -9 "$pid"; exit;; esac
  pid=$parent
done
"""


@pytest.fixture(scope="module")
def fleet(make_lab: MakeLab) -> Iterator[Lab]:
    """Three light boxes."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "fleet", "3")
    yield lab
    lab.down()


def check(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    """Run ``labctl check --json``; return its exit code and its hosts by name."""
    # The machine that runs the tests may be busy; what is looked at here is not how long it takes.
    patient = () if "--timeout" in words or "--replay" in words else ("--timeout", "180")
    done = lab.labctl("check", *words, *patient, "--json", check=False)
    assert done.stdout, done.stderr
    return done.returncode, {host["host"]: host for host in json.loads(done.stdout)["hosts"]}


def rules(host: dict[str, Any]) -> set[str]:
    return {one["rule"] for one in host["findings"]}


def test_all_boxes_answer_in_full(fleet: Lab) -> None:
    code, hosts = check(fleet, "fleet0*", "--facts")
    assert code in (0, 1)
    assert sorted(hosts) == ["fleet01", "fleet02", "fleet03"]
    for name, host in hosts.items():
        assert host["missing"] is None
        assert host["error"] == ""
        facts = host["facts"]
        assert all("value" in part for part in facts.values()), facts
        assert facts["system"]["value"]["hostname"] == {"value": name}
        assert "bookworm" in facts["system"]["value"]["release"]["value"]
        # The same clock, looked at within the round trip.
        assert facts["clock"]["value"]["offset_s"] == {"value": 0.0}


def test_a_fault_on_one_box_is_found_there_and_nowhere_else(fleet: Lab) -> None:
    """Half-installed package, a full file system, and a pending reboot."""
    break_it = """
set -e
sed -i '/^Package: tzdata$/,/^$/s/^Status: .*/Status: install ok half-configured/' \
    /var/lib/dpkg/status
echo linux-image-test >/run/reboot-required.pkgs; : >/run/reboot-required
mkdir -p /srv/full; mount -t tmpfs -o size=1m full /srv/full
dd if=/dev/zero of=/srv/full/file bs=1k count=1020 status=none
"""
    assert fleet.sh("fleet02", break_it) == (0, "")
    try:
        code, hosts = check(fleet, "fleet01", "fleet02")
        assert code == 1
        assert {"packages-half-done", "reboot-pending", "filesystem-full"} <= rules(
            hosts["fleet02"]
        )
        said = {one["rule"]: one for one in hosts["fleet02"]["findings"]}
        assert said["filesystem-full"]["subject"] == "/srv/full"
        assert "tzdata" in said["packages-half-done"]["says"]
        assert not rules(hosts["fleet01"]) & {"packages-half-done", "reboot-pending"}
    finally:
        fleet.sh(
            "fleet02",
            "umount /srv/full; rm -f /run/reboot-required*; dpkg --configure -a >/dev/null 2>&1",
        )


def test_a_box_that_dies_in_mid_answer_says_what_it_said(fleet: Lab) -> None:
    program = "/usr/local/bin/systemd-detect-virt"
    script = f"cat >{program} <<'END'\n{DIES}END\nchmod 755 {program}\ntouch /run/die\n"
    assert fleet.sh("fleet03", script)[0] == 0
    try:
        code, hosts = check(fleet, "fleet01", "fleet03", "--facts")
        assert code == 1
        assert hosts["fleet01"]["missing"] is None
        host = hosts["fleet03"]
        assert host["missing"]["unknown"] == "lost"
        assert host["status"] in ("incomplete", "warning", "critical")
        assert host["facts"]["clock"]["value"]["offset_s"] == {"value": 0.0}
        assert host["facts"]["driver"]["unknown"] == "lost"
        assert "packages-half-done" in {gap["rule"] for gap in host["not_judged"]}
    finally:
        fleet.sh("fleet03", "rm -f /run/die /usr/local/bin/systemd-detect-virt")


def test_a_wedged_driver_is_a_finding_and_hides_nothing(fleet: Lab) -> None:
    """nvidia-smi never comes back; every other fact of the box is there."""
    program = "/usr/local/bin/nvidia-smi"
    script = f"printf '#!/bin/sh\\nexec sleep 600\\n' >{program}; chmod 755 {program}"
    assert fleet.sh("fleet03", script) == (0, "")
    try:
        code, hosts = check(fleet, "fleet03", "--facts")
        host = hosts["fleet03"]
        assert (code, host["status"]) == (1, "critical")
        assert "driver-wedged" in rules(host)
        assert host["missing"] is None
        gpu = host["facts"]["gpu"]["value"]
        assert gpu["tool"] == {"value": "nvidia-smi"}
        assert gpu["cards"]["unknown"] == "timed_out"
        # Nothing of it stays behind that can be ended.
        left = (
            "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done | grep -c '^sleep 600'"
        )
        assert fleet.sh("fleet03", left)[1].strip() == "0"
    finally:
        fleet.sh("fleet03", f"rm -f {program}")


def test_dead_hosts_are_told_last_and_with_what_was_found_before(
    fleet: Lab, tmp_path: Path
) -> None:
    """One refuses, one accepts and says nothing; the live one is reported before the silent."""
    end = fleet.endpoints()["fleet01"]
    fields = {
        "address": end.address,
        "port": end.port,
        "user": end.user,
        "identity_files": [end.identity_file],
        "host_keys": list(end.host_keys),
    }
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        closed.bind(("127.0.0.1", 0))
        live = f"version: 1\nhosts:\n  live: {json.dumps(fields)}\n"
        other = Lab(tmp_path, inventory=live)
        assert check(other, "live")[0] in (0, 1)
        # The same names a day later: what was "live" is dead now.
        ports = {"live": silent.getsockname()[1], "closed": closed.getsockname()[1]}
        dead = "".join(
            f"  {name}: {{address: 127.0.0.1, port: {p}}}\n" for name, p in ports.items()
        )
        other.inventory.write_text(f"version: 1\nhosts:\n{dead}  up: {json.dumps(fields)}\n")
        process = other.start("check", "all", "--timeout", "30")
        assert process.stdout is not None
        heads = [line for line in process.stdout if line[:1] not in (" ", "\n")]
        assert process.wait(120) == 3
    assert [line.split()[0] for line in heads[:-1]][-1] == "live", heads
    assert heads[-1].startswith("3 hosts in ")
    _, hosts = check(other, "live", "--timeout", "1")
    assert hosts["live"]["last"]["age_s"] > 0
    assert hosts["live"]["status"] == "unreachable"


def test_a_recording_of_boxes_gives_the_same_findings(fleet: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    _, live = check(fleet, "fleet01", "fleet02", "--record", str(folder))
    _, again = check(fleet, "--replay", str(folder))
    assert sorted(again) == ["host1", "host2"]
    assert [rules(live[name]) for name in sorted(live)] == [
        rules(again[name]) for name in sorted(again)
    ]
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "fleet0" not in text
