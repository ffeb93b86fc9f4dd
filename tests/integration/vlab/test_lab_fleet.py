"""Real light boxes in namespaces."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl import procs
from labctl.vlab.image import ensure_image
from labctl.vlab.state import Machine

pytestmark = pytest.mark.fleet
NAMES = ["fleet01", "fleet02", "fleet03"]


def processes(lab: Lab) -> list[procs.ProcessId]:
    with lab.environment():
        words = [str(Machine(lab.inventory, name).pidfile) for name in NAMES]
    return [process for word in words for process in procs.find_by_word(word)]


def nothing_left(lab: Lab) -> None:
    assert processes(lab) == []
    assert lab.endpoints() == {}
    assert list((lab.folder / "machines").glob("*")) == []
    assert str(lab.folder) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture(scope="module")
def fleet(make_lab: MakeLab) -> Iterator[Lab]:
    lab = make_lab()
    lab.labctl("lab", "fleet", "3")
    yield lab
    lab.down()
    nothing_left(lab)


def test_each_has_its_own_name_address_key_processes_and_host_key(fleet: Lab) -> None:
    endpoints = fleet.endpoints()
    assert list(endpoints) == NAMES
    assert len({one.address for one in endpoints.values()}) == 3
    assert all(one.address.startswith("127.") for one in endpoints.values())
    assert len({one.host_keys for one in endpoints.values()}) == 3
    namespaces = set()
    for name in NAMES:
        status, output = fleet.sh(
            name,
            "hostname; cat /proc/1/comm; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub;"
            "readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/uts",
        )
        host, init, key, *own = output.splitlines()
        assert (status, host, init) == (0, name, "sh")
        assert endpoints[name].host_keys == (key,)
        namespaces.update(own)
    assert len(namespaces) == 9
    here = {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("pid", "mnt", "uts")}
    assert not namespaces & here


def test_files_of_one_are_seen_by_none_other_nor_by_the_image(fleet: Lab) -> None:
    assert fleet.sh("fleet01", "echo mine > /etc/mine; rm /etc/debian_version")[0] == 0
    assert fleet.sh("fleet02", "test ! -e /etc/mine && test -e /etc/debian_version")[0] == 0
    tree = ensure_image(print, tree=True).tree
    assert not (tree / "etc/mine").exists()
    assert (tree / "etc/debian_version").exists()


def test_the_files_of_the_host_cannot_be_seen(fleet: Lab) -> None:
    _, output = fleet.sh(
        "fleet01", f"ls -A /.host 2>&1; ls {fleet.inventory} 2>&1; cat /proc/mounts"
    )
    assert output.count("No such file or directory") == 2
    assert str(fleet.folder) not in output
    assert "/dev/vd" not in output


def test_a_terminal_can_be_had(fleet: Lab) -> None:
    with fleet.connect("fleet02") as client:
        _, stdout, _ = client.exec_command("tty", get_pty=True, timeout=20)
        assert stdout.read().strip().startswith(b"/dev/pts/")


def test_orphans_are_reaped(fleet: Lab) -> None:
    script = "(sh -c 'exit 3' & ) ; (sleep 0.2 &) ; exit 0"
    assert fleet.sh("fleet02", script)[0] == 0
    zombies = "cat /proc/[0-9]*/stat | awk '{print $3}' | grep -c Z"
    until(lambda: fleet.sh("fleet02", zombies)[1].strip() == "0")


def test_the_inventory_has_them_while_they_run(fleet: Lab) -> None:
    shown = fleet.labctl("inventory", "show", "fleet02", "--json").stdout
    assert fleet.endpoints()["fleet02"].address in shown


def test_again_starts_only_what_does_not_run(fleet: Lab) -> None:
    victim = next(
        one for one in fleet.json("lab", "status")["machines"] if one["name"] == "fleet03"
    )
    os.kill(victim["pid"], signal.SIGKILL)
    until(lambda: fleet.states()["fleet03"] == "crashed")
    outcomes = fleet.json("lab", "fleet", "3")["machines"]
    assert [one["result"] for one in outcomes] == ["already up", "already up", "started"]
    assert fleet.sh("fleet03", "hostname") == (0, "fleet03\n")


def test_shell_uses_the_key_of_the_lab(fleet: Lab) -> None:
    done = fleet.labctl("lab", "shell", "fleet01", "hostname; exit 5", check=False)
    assert (done.returncode, done.stdout.strip()) == (5, "fleet01"), done.stderr


def test_killed_labctl_leaves_nothing_that_down_does_not_remove(make_lab: MakeLab) -> None:
    lab = make_lab()
    process = lab.start("lab", "fleet", "3")
    until(lambda: processes(lab))
    process.send_signal(signal.SIGKILL)
    process.wait()
    lab.down()
    nothing_left(lab)


def test_two_labs_have_addresses_of_their_own(fleet: Lab, make_lab: MakeLab) -> None:
    other = make_lab()
    other.labctl("lab", "fleet", "2")
    theirs = {one.address for one in other.endpoints().values()}
    assert not theirs & {one.address for one in fleet.endpoints().values()}
    other.down()
    nothing_left(other)
    assert fleet.sh("fleet01", "hostname") == (0, "fleet01\n")


def test_too_many_are_refused(make_lab: MakeLab) -> None:
    done = make_lab().labctl("lab", "fleet", "251", check=False)
    assert done.returncode == 2
    assert "a fleet has 1 to 250 boxes" in done.stderr
