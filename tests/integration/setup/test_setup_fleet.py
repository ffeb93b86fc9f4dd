"""``labctl setup`` on light boxes: a real Debian with a real sshd each, over real SSH."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from virtual_lab import INVENTORY, Lab, MakeLab, until

pytestmark = pytest.mark.fleet

PROFILE = """\
description: Some of each that needs no archive
variables:
  motd: {type: string, default: "hello\\n", help: Text of the message of the day}
items:
  - hostname: ${host.name}
  - timezone: Europe/Berlin
  - directory: {path: /srv/lab, mode: 0750}
  - file: {path: /srv/lab/motd, content: "${motd}", mode: 0640}
  - line: {path: /etc/profile, line: "export LAB=1"}
  - link: {path: /usr/local/share/lab, target: /srv/lab}
  - group: lab
  - user: {name: anna, groups: [lab], comment: Anna Müller}
  - login_shell: {user: anna, shell: /bin/sh}
  - block: {path: ~anna/.bashrc, owner: anna, content: "alias ll='ls -l'"}
  - authorized_key: {user: anna, key: "${control.public_key}"}
  - command: {name: once, run: "echo x >>/srv/lab/once", unless: "[ -s /srv/lab/once ]"}
  - package: [apt, dpkg]
  - sshd: {settings: {PasswordAuthentication: no, PermitRootLogin: prohibit-password}}
"""
SLOW = """\
description: One item waits until it is let go
items:
  - file: {path: /srv/first, content: "1"}
  - command:
      name: slow
      run: touch /srv/begun; until [ -e /srv/go ]; do sleep 0.1; done; echo 2 >/srv/second
      unless: "[ -s /srv/second ]"
  - file: {path: /srv/third, content: "3"}
"""
BIG = """\
description: More than fits
items:
  - file: {path: /srv/small-disk/big, content: "${text}"}
variables:
  text: {type: string, default: "", help: what to write}
"""


@pytest.fixture(scope="module")
def fleet(make_lab: MakeLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three light boxes, and profiles of the tests' own."""
    lab = make_lab(INVENTORY)
    profiles = tmp_path_factory.mktemp("config") / "labctl" / "profiles"
    profiles.mkdir(parents=True)
    for name, text in (("some", PROFILE), ("slow", SLOW), ("big", BIG)):
        (profiles / f"{name}.yaml").write_text(text)
    lab.env["XDG_CONFIG_HOME"] = str(profiles.parents[1])
    lab.labctl("lab", "fleet", "3")
    yield lab
    lab.down()


def setup(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    """Run ``labctl setup --json`` and return its exit code and document."""
    done = lab.labctl("setup", *words, "--json", check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def items(document: dict[str, Any]) -> dict[str, str]:
    return {item["id"]: item["status"] for host in document["hosts"] for item in host["items"]}


def inventory_beside(lab: Lab, folder: Path, text: str) -> Lab:
    """Return a way to drive labctl with another inventory and a state of its own."""
    other = Lab(folder, inventory=text)
    other.env["XDG_CONFIG_HOME"] = lab.env["XDG_CONFIG_HOME"]
    return other


def as_real_host(lab: Lab, name: str, **more: object) -> str:
    """Return the inventory lines that reach a light box as if it were a real machine."""
    end = lab.endpoints()[name]
    fields: dict[str, object] = {
        "address": end.address,
        "port": end.port,
        "user": end.user,
        "identity_files": [end.identity_file],
        "host_keys": list(end.host_keys),
        **more,
    }
    return f"  {name}: {json.dumps(fields)}\n"


# -- converging ----------------------------------------------------------------------------------


def test_it_converges_is_checked_and_then_nothing_is_written(fleet: Lab) -> None:
    code, plan = setup(fleet, "fleet01", "-p", "some", "--check")
    assert code == 1
    assert plan["summary"]["to_change"] > 8
    assert fleet.sh("fleet01", "ls /srv")[1] == ""
    code, done = setup(fleet, "fleet01", "-p", "some", "--yes")
    assert code == 0, done
    assert done["summary"]["changed"] == plan["summary"]["to_change"]
    assert fleet.sh("fleet01", "touch /root/marker; sleep 0.1; sync")[0] == 0
    for words in (("--check",), ("--yes",)):
        code, again = setup(fleet, "fleet01", "-p", "some", *words)
        assert (code, again["hosts"][0]["status"]) == (0, "ok")
        assert set(items(again).values()) == {"unchanged"}
        assert again["hosts"][0]["round_trips"] == 1
    # A login itself is noted by sshd; nothing else may be touched, not even a time stamp.
    _, touched = fleet.sh(
        "fleet01",
        "find / -xdev \\( -cnewer /root/marker -o -newer /root/marker \\) ! -path /root/marker "
        "! -path '/var/log/*' ! -path /root ! -path /run -print",
    )
    assert touched == ""


def test_the_machine_is_what_the_profile_says(fleet: Lab) -> None:
    setup(fleet, "fleet01", "-p", "some", "--yes")
    status, output = fleet.sh(
        "fleet01",
        """
        stat -c '%a %U %n' /srv/lab /srv/lab/motd ~anna/.bashrc
        stat -c '%a %U %n' ~anna/.ssh ~anna/.ssh/authorized_keys
        readlink /usr/local/share/lab /etc/localtime
        id -nG anna; getent passwd anna | cut -d: -f5-
        sshd -T | grep -E '^(passwordauthentication|permitrootlogin)'
        cat /srv/lab/once; find / -xdev -name '*.labctl'
        """,
    )
    assert status == 0
    assert output.splitlines() == [
        "750 root /srv/lab",
        "640 root /srv/lab/motd",
        "644 anna /home/anna/.bashrc",
        "700 anna /home/anna/.ssh",
        "600 anna /home/anna/.ssh/authorized_keys",
        "/srv/lab",
        "/usr/share/zoneinfo/Europe/Berlin",
        "anna lab",
        "Anna Müller:/home/anna:/bin/sh",
        "permitrootlogin without-password",
        "passwordauthentication no",
        "x",
    ]


def test_what_somebody_changed_is_put_right_and_shown(fleet: Lab) -> None:
    setup(fleet, "fleet02", "-p", "some", "--yes")
    fleet.sh("fleet02", "echo other >/srv/lab/motd; rm /usr/local/share/lab")
    said = fleet.labctl("setup", "fleet02", "-p", "some", "--check", "--diff", check=False)
    assert said.returncode == 1
    assert "-other" in said.stdout
    assert "+hello" in said.stdout
    assert "\x1b" not in said.stdout
    code, done = setup(fleet, "fleet02", "-p", "some", "--yes")
    assert (code, done["summary"]["changed"]) == (0, 2)


def test_a_new_value_reaches_all_hosts_in_one_run(fleet: Lab) -> None:
    code, done = setup(fleet, "fleet0*", "-p", "some", "--yes", "--set", "motd=new")
    assert code == 0, done
    assert [host["host"] for host in done["hosts"]] == ["fleet01", "fleet02", "fleet03"]
    for name in ("fleet01", "fleet02", "fleet03"):
        assert fleet.sh(name, "cat /srv/lab/motd")[1] == "new"


# -- hosts that are not there --------------------------------------------------------------------


def test_dead_hosts_do_not_delay_the_others_and_alone_are_tried_again(
    fleet: Lab, tmp_path: Path
) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        closed.bind(("127.0.0.1", 0))
        text = (
            "version: 1\nhosts:\n"
            f"  dead1: {{address: 127.0.0.1, port: {silent.getsockname()[1]}}}\n"
            f"  dead2: {{address: 127.0.0.1, port: {closed.getsockname()[1]}}}\n"
            + as_real_host(fleet, "fleet03")
        )
        other = inventory_beside(fleet, tmp_path, text)
        began = time.monotonic()
        code, done = setup(
            other, "all", "-p", "some", "--yes", "--connect-timeout", "8", "--set", "motd=dead"
        )
        assert time.monotonic() - began < 60
    assert code == 3
    status = {host["host"]: host["status"] for host in done["hosts"]}
    assert status == {"dead1": "unreachable", "dead2": "unreachable", "fleet03": "ok"}
    seconds = {host["host"]: host["summary"]["seconds"] for host in done["hosts"]}
    assert seconds["fleet03"] < seconds["dead1"]
    assert "connection refused" in done["hosts"][1]["error"]
    code, again = setup(other, "--retry-failed", "--yes", "--connect-timeout", "1")
    assert code == 3
    assert [host["host"] for host in again["hosts"]] == ["dead1", "dead2"]


def test_a_changed_host_key_is_refused_with_both_fingerprints(fleet: Lab, tmp_path: Path) -> None:
    wrong = fleet.endpoints()["fleet02"].host_keys
    other = inventory_beside(
        fleet, tmp_path, "version: 1\nhosts:\n" + as_real_host(fleet, "fleet01", host_keys=wrong)
    )
    for more in ([], ["--accept-new"]):
        code, done = setup(other, "fleet01", "-p", "some", "--check", *more)
        assert code == 3
        assert "its host key has changed" in done["hosts"][0]["error"]
        assert done["hosts"][0]["error"].count("SHA256:") == 2


def test_an_unknown_host_key_is_refused_until_it_is_accepted(fleet: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    other = inventory_beside(
        fleet, tmp_path, "version: 1\nhosts:\n" + as_real_host(fleet, "fleet01", host_keys=[])
    )
    other.env["HOME"] = str(home)
    code, done = setup(other, "fleet01", "-p", "some", "--check")
    assert code == 3
    assert "is not known" in done["hosts"][0]["error"]
    code, done = setup(other, "fleet01", "-p", "some", "--check", "--accept-new")
    assert done["hosts"][0]["status"] == "ok"
    assert fleet.endpoints()["fleet01"].host_keys[0] in (home / ".ssh/known_hosts").read_text()
    assert setup(other, "fleet01", "-p", "some", "--check")[1]["hosts"][0]["status"] == "ok"


# -- runs that are cut ---------------------------------------------------------------------------


def test_a_killed_run_is_completed_by_the_next(fleet: Lab) -> None:
    fleet.sh("fleet02", "rm -f /srv/first /srv/begun /srv/go /srv/second /srv/third")
    process = fleet.start("setup", "fleet02", "-p", "slow", "--yes")
    until(lambda: fleet.sh("fleet02", "test -e /srv/begun")[0] == 0)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert fleet.json("setup", "--runs")["runs"][0]["state"] == "killed"
    # The item in flight still runs and holds the machine's lock.
    assert setup(fleet, "fleet02", "-p", "slow", "--yes")[0] == 4
    fleet.sh("fleet02", "touch /srv/go")
    until(lambda: fleet.sh("fleet02", "flock -n /run/labctl-setup.lock true")[0] == 0)
    assert fleet.sh("fleet02", "ls /srv/third 2>/dev/null")[1] == ""
    code, done = setup(fleet, "fleet02", "-p", "slow", "--yes")
    assert code == 0
    assert items(done) == {
        "file /srv/first": "unchanged",
        "command slow": "unchanged",
        "file /srv/third": "changed",
    }


def test_a_full_disk_is_told_plainly_and_a_rerun_completes(fleet: Lab) -> None:
    fleet.sh("fleet03", "mkdir -p /srv/small-disk; mount -t tmpfs -o size=16k none /srv/small-disk")
    text = "x" * 100_000
    code, done = setup(fleet, "fleet03", "-p", "big", "--yes", "--set", f"text={text}")
    assert code == 1
    assert "No space left on device" in done["hosts"][0]["items"][0]["error"]
    assert fleet.sh("fleet03", "ls -A /srv/small-disk")[1] == ""
    fleet.sh("fleet03", "mount -o remount,size=1m /srv/small-disk")
    assert setup(fleet, "fleet03", "-p", "big", "--yes", "--set", f"text={text}")[0] == 0
    assert fleet.sh("fleet03", "wc -c </srv/small-disk/big")[1].strip() == "100000"


def test_somebody_else_at_work_is_busy(fleet: Lab) -> None:
    with contextlib.closing(fleet.connect("fleet01")) as client:
        stdin, stdout, _ = client.exec_command(
            "flock /run/labctl-setup.lock sh -c 'echo held; read x'", timeout=60
        )
        assert stdout.readline() == "held\n"
        code, done = setup(fleet, "fleet01", "-p", "some", "--yes", "--set", "motd=busy")
        assert (code, done["hosts"][0]["status"]) == (4, "busy")
        stdin.write("\n")
        stdin.flush()
        assert stdout.channel.recv_exit_status() == 0
    assert setup(fleet, "fleet01", "-p", "some", "--yes", "--set", "motd=busy")[0] == 0


def test_ctrl_c_ends_it_with_130(fleet: Lab) -> None:
    fleet.sh("fleet01", "rm -f /srv/first /srv/begun /srv/go /srv/second /srv/third")
    process = fleet.start("setup", "fleet01", "-p", "slow", "--yes")
    until(lambda: fleet.sh("fleet01", "test -e /srv/begun")[0] == 0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    fleet.sh("fleet01", "touch /srv/go")
    until(lambda: fleet.sh("fleet01", "test -s /srv/second")[0] == 0)
    assert fleet.sh("fleet01", "ls /srv/third 2>/dev/null")[1] == ""


def test_the_journal_knows_what_was_there(fleet: Lab) -> None:
    fleet.sh("fleet01", "mkdir -p /srv/lab; printf 'before\\n' >/srv/lab/motd")
    setup(fleet, "fleet01", "-p", "some", "--yes", "--set", "motd=after")
    run = fleet.json("setup", "--show", "last")
    before = [e for e in run["hosts"]["fleet01"] if e["event"] == "before"]
    backups = {path: text for event in before for path, text in event["backup"].items()}
    assert backups["/srv/lab/motd"] == "YmVmb3JlCg=="
    said = subprocess.run(
        fleet.command("setup", "--show", "last"), env=fleet.env, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert "file /srv/lab/motd: edit" in said.stdout
