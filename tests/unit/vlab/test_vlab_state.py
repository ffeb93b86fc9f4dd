from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import procs
from labctl.errors import DependencyError, UsageError
from labctl.inventory.endpoints import lab_dir
from labctl.vlab import box, fleet, lab
from labctl.vlab.programs import packages, require
from labctl.vlab.state import Machine, MachineRecord, all_records, machines
from labctl.vlab.store import Image


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "inventory.yaml"


RECORD = MachineRecord("box1", "box", "0123", "127.0.0.1", 2222, "tcg", "secret", ("k v",))


@pytest.fixture
def running(inventory: Path) -> Iterator[tuple[Machine, subprocess.Popen[bytes]]]:
    """A machine whose process is a sleep with the right word in its command line."""
    machine = Machine(inventory, "box1")
    word = str(machine.pidfile)
    process = subprocess.Popen(["sh", "-c", "sleep 600 & wait", "sh", word])
    while not procs.find_by_word(word):  # between fork and exec
        assert process.poll() is None
    yield machine, process
    process.kill()
    process.wait()


def test_a_record_is_read_as_it_was_written_and_is_private(inventory: Path) -> None:
    machine = Machine(inventory, "box1")
    assert machine.state() == "down"
    process = procs.ProcessId(1, 2, "boot")
    machine.write(RECORD)
    new = machine.update(RECORD, process=process, ready=True)
    assert machine.read() == new
    assert (new.process, new.ready, new.password) == (process, True, "secret")
    assert "secret" not in repr(new)
    assert (machine.folder / "machine.json").stat().st_mode & 0o777 == 0o600
    assert machine.folder.stat().st_mode & 0o777 == 0o700
    assert all_records() == [new]


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x-", "a" * 64, "ü", "a b", "a.b"])
def test_a_name_that_is_no_host_name_is_refused(inventory: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a host name"):
        Machine(inventory, name)


def test_states_follow_the_process(
    running: tuple[Machine, subprocess.Popen[bytes]],
) -> None:
    machine, process = running
    machine.write(RECORD)  # labctl died before it could write the process down
    found = machine.find_process()
    assert found is not None
    assert found.pid == process.pid
    assert machine.state() == "starting"
    machine.update(RECORD, process=found, ready=True)
    assert machine.state() == "up"
    process.kill()
    assert procs.wait_gone(found, timeout_s=10)
    process.wait()
    assert machine.state() == "crashed"


def test_down_ends_a_process_that_no_record_knows(
    running: tuple[Machine, subprocess.Popen[bytes]],
) -> None:
    machine, process = running
    machine.folder.mkdir(parents=True)
    said: list[str] = []
    outcomes = lab.down(machine.inventory, [], said.append)
    assert [(one.name, one.result) for one in outcomes] == [("box1", "stopped")]
    assert process.wait(timeout=10) != 0
    assert said == ["box1: stopped"]
    assert not machine.folder.exists()
    assert machines(machine.inventory) == []


def test_down_of_nothing_says_so(inventory: Path) -> None:
    said: list[str] = []
    assert lab.down(inventory, [], said.append) == []
    assert [one.result for one in lab.down(inventory, ["box1"], said.append)] == ["not running"]
    assert said == ["box1: not running"]


def test_a_damaged_record_is_a_crash_and_can_be_cleaned(inventory: Path) -> None:
    machine = Machine(inventory, "box1")
    machine.write(RECORD)
    (machine.folder / "machine.json").write_text("{")
    assert machine.state() == "crashed"
    assert [one.state for one in lab.status(inventory)] == ["crashed"]
    lab.down(inventory, ["box1"], lambda line: None)
    assert machine.state() == "down"


def test_status_has_the_expected_ones_that_are_down(inventory: Path) -> None:
    lines = lab.status(inventory, ["box1", "box2"])
    assert [(one.name, one.state) for one in lines] == [("box1", "down"), ("box2", "down")]


# -- command line and addresses -----------------------------------------------------------------


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_paths_of_sockets_stay_short_however_deep_the_folder_is(inventory: Path) -> None:
    machine = Machine(inventory.parent / ("d" * 100) / "inventory.yaml", "box1")
    image = Image(Path("/i"), "k", "6.1", 0.0, 0.0)
    command = box.command_line(machine, image, box.BoxOptions(), "tcg", 4022)
    assert "path=console.sock," in option(command, "-chardev")
    assert option(command, "-qmp").startswith("unix:qmp.sock,")
    assert option(command, "-pidfile") == str(machine.pidfile)
    assert "hostfwd=tcp:127.0.0.1:4022-:22" in option(command, "-netdev")


def test_what_is_for_emulation_only_is_not_done_under_kvm(inventory: Path) -> None:
    machine, image = Machine(inventory, "box1"), Image(Path("/i"), "k", "6.1", 0.0, 0.0)
    kvm, tcg = (
        box.command_line(machine, image, box.BoxOptions(cpus=3, memory_mib=512), accel, 1)
        for accel in ("kvm", "tcg")
    )
    assert "norandmaps" in option(tcg, "-append")
    for word in ("norandmaps", "mitigations", "systemd.mask"):
        assert word not in option(kvm, "-append")
    assert (option(kvm, "-cpu"), option(kvm, "-smp"), option(kvm, "-m")) == ("host", "3", "512")


def test_a_free_port_can_be_bound_and_a_banner_is_recognised() -> None:
    import socket
    import threading

    port = box.free_port()
    assert not box.banner_seen("127.0.0.1", port, timeout_s=0.5)
    for greeting, expected in ((b"SSH-2.0-x\r\n", True), (b"220 mail\r\n", False), (b"", False)):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(server: socket.socket = server, greeting: bytes = greeting) -> None:
                link, _ = server.accept()
                link.sendall(greeting)
                link.close()

            thread = threading.Thread(target=serve)
            thread.start()
            address, port = server.getsockname()
            assert box.banner_seen(address, port, timeout_s=5) is expected
            thread.join()


def test_addresses_differ_between_labs_and_are_loopback(inventory: Path) -> None:
    first, second = (lab_dir(inventory.parent / name).name for name in ("a", "b"))
    assert first != second
    subnets = {fleet.subnet(one, attempt) for one in (first, second) for attempt in range(5)}
    assert len(subnets) > 5
    assert all(one.startswith("127.") for one in subnets)
    assert fleet.subnet(first, 0) == fleet.subnet(first, 0)
    assert fleet.address_of("127.64.1", "fleet07") == "127.64.1.7"
    assert fleet.names(250)[-1] == "fleet250"


def test_a_taken_subnet_is_passed_over(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(fleet, "PORT", box.free_port())
    first = fleet.choose_subnet(inventory, ["fleet01", "fleet02"])
    with socket.create_server((f"{first}.2", fleet.PORT)):
        assert fleet.choose_subnet(inventory, ["fleet01", "fleet02"]) != first
    assert fleet.choose_subnet(inventory, ["fleet01"]) == first


def test_a_fleet_needs_root(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UsageError, match=r"only root.*sudo"):
        lab.fleet_up(inventory, 2, lambda line: None)


@pytest.mark.parametrize("count", [0, -1, 251])
def test_a_fleet_has_limits(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 250"):
        fleet.names(count)


def test_all_missing_programs_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(DependencyError) as caught:
        require(
            {"no-such-b": "pkg-b", "sh": "dash"}, {"no-such-a": "pkg-a"}, files=[("/no", "pkg-a")]
        )
    assert caught.value.action == "install with: sudo apt-get install pkg-a pkg-b"
    assert "no-such-a, no-such-b" in caught.value.cause
    assert {"qemu-system-x86", "mmdebstrap", "busybox-static"} <= set(packages())
