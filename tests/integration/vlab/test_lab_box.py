"""Real boxes in QEMU."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl import procs
from labctl.transport import qmp
from labctl.vlab import accel
from labctl.vlab import box as boxes
from labctl.vlab.image import ensure_image
from labctl.vlab.state import Machine

pytestmark = pytest.mark.vm


def machine(lab: Lab, name: str = "box1") -> Machine:
    with lab.environment():
        return Machine(lab.inventory, name)


def nothing_left(lab: Lab) -> None:
    assert lab.endpoints() == {}
    assert list((lab.folder / "machines").glob("*")) == []
    for name in ("box1", "box2"):
        assert procs.find_by_word(str(machine(lab, name).pidfile)) == []


# -- what a box is ------------------------------------------------------------------------------


def test_a_box_is_a_new_debian_with_root_and_nothing_else(box: Lab) -> None:
    status, output = box.sh(
        "box1",
        """
        . /etc/os-release; echo "os $ID $VERSION_ID"
        echo "init $(cat /proc/1/comm)"
        echo "host $(hostname)"
        for word in sudo python3 locale-gen curl git; do
            command -v $word >/dev/null && echo "has $word"
        done
        ls -A /root/.ssh 2>/dev/null
        echo "locales $(locale -a | sort | tr '\\n' ' ')"
        awk -F: '$3 >= 1000 && $3 < 65000 {print "user " $1}' /etc/passwd
        echo "hash $(awk -F: '$1 == "root" {print substr($2, 1, 3)}' /etc/shadow)"
        echo "failed $(systemctl list-units --failed --no-legend | wc -l)"
        echo "keys $(ls /etc/ssh/ssh_host_*_key | wc -l) $(stat -c %a /etc/ssh/ssh_host_rsa_key)"
        """,
    )
    assert status == 0
    assert output.splitlines() == [
        "os debian 12",
        "init systemd",
        "host box1",
        "locales C C.utf8 POSIX ",
        "hash $6$",
        "failed 0",
        "keys 3 600",
    ]


def test_the_published_host_keys_are_those_that_the_box_shows(box: Lab) -> None:
    endpoint = box.endpoints()["box1"]
    _, output = box.sh("box1", "cat /etc/ssh/ssh_host_*_key.pub")
    inside = {" ".join(line.split()[:2]) for line in output.splitlines()}
    assert inside == set(endpoint.host_keys)
    assert endpoint.host_keys[0].startswith("ssh-ed25519 ")
    with box.connect("box1") as client:  # refuses any other key
        transport = client.get_transport()
        assert transport is not None
        key = transport.get_remote_server_key()
        assert f"{key.get_name()} {key.get_base64()}" in endpoint.host_keys


def test_the_endpoint_with_the_password_is_for_its_owner_only(box: Lab) -> None:
    for path in (box.folder / "endpoints/box1.json", machine(box).folder / "machine.json"):
        assert path.stat().st_mode & 0o077 == 0
    assert machine(box).folder.stat().st_mode & 0o077 == 0
    assert box.endpoints()["box1"].password not in box.labctl("lab", "status", "--json").stdout


@pytest.mark.long
def test_apt_works_inside(box: Lab) -> None:
    # The lists came with the box; what Debian has changed since then is all that is fetched.
    lists = "ls /var/lib/apt/lists/*_binary-amd64_Packages* /var/lib/apt/lists/*_Translation-en*"
    status, output = box.sh("box1", lists)
    assert status == 0, output
    status, output = box.sh("box1", "apt-get update && apt-cache policy sudo", timeout_s=600)
    assert status == 0, output
    assert re.search(r"Candidate: \d", output)


# -- status, shell, console ---------------------------------------------------------------------


def test_up_again_says_so_and_starts_nothing(box: Lab) -> None:
    before = machine(box).read()
    again = box.json("lab", "up", "box1")["machines"]
    assert [one["result"] for one in again] == ["already up"]
    assert machine(box).read() == before


def test_status_tells_where_it_is(box: Lab) -> None:
    lines = {one["name"]: one for one in box.json("lab", "status")["machines"]}
    one, endpoint = lines["box1"], box.endpoints()["box1"]
    assert one["state"] == "up"
    assert one["address"] == f"127.0.0.1:{endpoint.port}"
    assert one["uptime_s"] > 0
    assert one["accel"] in ("kvm", "tcg")
    command = Path(f"/proc/{one['pid']}/cmdline").read_bytes().split(b"\0")
    assert command[0] == b"qemu-system-x86_64"
    assert lines["box2"]["state"] == "down"


def test_shell_runs_a_command_and_passes_its_status_on(box: Lab) -> None:
    done = box.labctl("lab", "shell", "box1", "hostname; exit 7", check=False)
    assert (done.returncode, done.stdout.strip()) == (7, "box1"), done.stderr


def test_the_console_answers_and_ctrl_bracket_leaves(box: Lab) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        box.command("lab", "shell", "--console", "box1"),
        stdin=slave, stdout=slave, stderr=slave, env=box.env, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    try:
        deadline = time.monotonic() + 60
        typed = False
        while b"box1 login:" not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([master], [], [], 0.5)[0]:
                seen += os.read(master, 4096)
            if not typed and b"Ctrl-]" in seen:
                os.write(master, b"\r")
                typed = True
        os.write(master, b"\x1d")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_the_monitor_answers(box: Lab) -> None:
    answer = qmp.execute(machine(box).qmp, "query-status")
    assert isinstance(answer, dict)
    assert answer["status"] == "running"


# -- reboot and reset ---------------------------------------------------------------------------


@pytest.mark.long
def test_a_reboot_keeps_everything_and_a_reset_nothing(lab: Lab) -> None:
    lab.up("box1")
    first = lab.endpoints()["box1"]
    status, identity = lab.sh("box1", "cat /etc/machine-id; touch /root/mine; sync")
    assert status == 0
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = lab.sh("box1", boot)
    lab.sh("box1", "systemctl --no-block reboot")

    def rebooted() -> bool:
        try:
            return lab.sh("box1", boot) != before
        except Exception:
            return False

    until(rebooted, timeout_s=240)
    assert lab.sh("box1", "cat /etc/machine-id; ls /root/mine") == (0, identity + "/root/mine\n")

    lab.reset("box1")
    second = lab.endpoints()["box1"]
    assert second.port == first.port
    assert not set(second.host_keys) & set(first.host_keys)
    assert second.password != first.password
    assert lab.sh("box1", "ls /root/mine 2>/dev/null")[0] != 0
    lab.down("box1")
    nothing_left(lab)


# -- accidents ----------------------------------------------------------------------------------


def test_killed_labctl_leaves_a_box_that_status_shows_and_down_removes(lab: Lab) -> None:
    ensure_image(print)
    process = lab.start("lab", "up", "box1")
    until(lambda: machine(lab).find_process())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert machine(lab).find_process()
    assert lab.states()["box1"] == "starting"
    lab.down()
    nothing_left(lab)


def test_a_box_whose_record_was_never_completed_is_found_by_its_command_line(lab: Lab) -> None:
    process = lab.start("lab", "up", "box1")
    until(lambda: machine(lab).find_process())
    process.send_signal(signal.SIGKILL)
    process.wait()
    (machine(lab).folder / "machine.json").unlink()
    assert lab.states()["box1"] == "starting"
    lab.down("box1")
    nothing_left(lab)


def test_killed_qemu_is_told_with_the_console_and_cleaned_up(lab: Lab) -> None:
    process = lab.start("lab", "up", "box1")
    until(lambda: (record := machine(lab).read()) and record.process)
    qemu = machine(lab).find_process()
    assert qemu is not None
    os.kill(qemu.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "box1: it ended while starting" in output
    assert lab.states()["box1"] == "crashed"
    lab.down()
    nothing_left(lab)


def test_two_labs_do_not_see_each_other(make_lab: MakeLab) -> None:
    labs = [make_lab(), make_lab()]
    starts = [one.start("lab", "up", "box1") for one in labs]
    for one in labs:
        until(lambda one=one: (record := machine(one).read()) and record.process)
    ports = {machine(one).read().port for one in labs}
    assert len(ports) == 2
    labs[0].down()
    nothing_left(labs[0])
    assert machine(labs[1]).find_process()
    labs[1].down()
    nothing_left(labs[1])
    for process in starts:
        process.communicate(timeout=60)
        assert process.returncode == 1  # their boxes were taken away while they waited


def test_down_need_not_wait_for_a_boot_and_up_tells_it_was_stopped(lab: Lab) -> None:
    process = lab.start("lab", "up", "box1")
    until(lambda: (record := machine(lab).read()) and record.process)
    begun = time.monotonic()
    lab.down("box1")
    assert time.monotonic() - begun < 10
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "box1: it ended while starting" in output
    nothing_left(lab)


def test_a_port_that_was_taken_meanwhile_is_replaced(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ensure_image(print)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        real = boxes.free_port
        offers = iter([taken, taken])
        monkeypatch.setattr(boxes, "free_port", lambda: next(offers, None) or real())
        with lab.environment():
            one = machine(lab)
            record = boxes.start(one, image, boxes.BoxOptions())
            assert record.port not in (0, taken)
            assert next(offers, None) is None
            assert boxes.stop(one)
    nothing_left(lab)


def test_an_unusable_accelerator_is_found_out(tmp_path: Path) -> None:
    image = ensure_image(print)
    assert accel.runs_linux("tcg", image, deadline_s=120)
    (tmp_path / "vmlinuz").write_bytes(image.vmlinuz.read_bytes())
    (tmp_path / "initrd").write_bytes(b"")  # a kernel that runs but never says so
    dead = type(image)(tmp_path, "dead", image.kernel, 0.0, 0.0)
    assert not accel.runs_linux("tcg", dead, deadline_s=3)


def test_names_that_are_no_virtual_box_are_refused(lab: Lab) -> None:
    lab.inventory.write_text(lab.inventory.read_text() + "  real: {address: 192.0.2.7}\n")
    done = lab.labctl("lab", "up", "real", check=False)
    assert done.returncode == 2
    assert "real: not virtual; the inventory has: box1, box2" in done.stderr
    done = lab.labctl("lab", "reset", "box1", check=False)
    assert done.returncode == 2
    assert "the lab runs no such box" in done.stderr
