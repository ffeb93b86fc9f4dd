"""Power by programs: shell commands, and uhubctl as its documentation shows it."""

import os
import sys
from pathlib import Path

import pytest

from labctl.boards.power import command, uhubctl
from labctl.boards.power.programs import run
from labctl.boards.power.switch import Power
from labctl.errors import DependencyError, LabctlError

ON, OFF = "echo 1 > state", "echo 0 > state"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_command() -> None:
    one = Power("uno", {"kind": "command", "on": ON, "off": OFF, "off_s": 0,
                        "status": "grep -q 1 state"})  # fmt: skip
    one.on()
    assert one.get() is True
    one.cycle()
    assert one.get() is True
    one.off()
    assert one.get() is False


def test_command_without_status() -> None:
    one = Power("uno", {"kind": "command", "on": ON, "off": OFF})
    one.on()
    assert one.get() is None


def test_command_that_fails_says_why() -> None:
    config = {"on": "echo relay 3 does not answer >&2; exit 7", "off": "true"}
    with pytest.raises(LabctlError, match="'on' ended with 7: relay 3 does not answer"):
        command.set(config, True, deadline_s=10)


def test_command_that_says_escapes() -> None:
    config = {"on": r"printf '\033[31mred\033[0m'; exit 1", "off": "true"}
    with pytest.raises(LabctlError, match="ended with 1: red;"):
        command.set(config, True, deadline_s=10)


def test_status_that_is_neither() -> None:
    with pytest.raises(LabctlError, match="'status' ended with 2: "):
        command.get({"on": ON, "off": OFF, "status": "exit 2"}, deadline_s=10)


def test_command_is_ended_with_all_that_it_started(folder: Path) -> None:
    """A child that ignores SIGTERM and SIGHUP, in the background, holding the pipe open."""
    child = "trap '' TERM HUP; echo $$ > child; while :; do sleep 1; done"
    with pytest.raises(LabctlError, match=r"'on' did not end within 0\.5 s; run it by hand"):
        command.set({"on": f'sh -c "{child}" & wait', "off": "true"}, True, deadline_s=0.5)
    assert_ended(int((folder / "child").read_text()))


def test_what_a_command_left_in_the_background_is_ended_too(folder: Path) -> None:
    child = "exec >/dev/null 2>&1; echo $$ > child; sleep 600"
    line = f'sh -c "{child}" & while [ ! -s child ]; do sleep 0.01; done'
    code, said = run(["/bin/sh", "-c", line], name="x", deadline_s=20)
    assert (code, said) == (0, "")
    assert_ended(int((folder / "child").read_text()))


def assert_ended(pid: int) -> None:
    """Wait until the process is gone; one that is only waited for by its parent counts."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([descriptor], [], [], 20)[0], "it still runs"
    os.close(descriptor)


def test_program_that_is_not_there() -> None:
    with pytest.raises(LabctlError, match="x cannot be started: No such file"):
        run(["/does/not/exist"], name="x", deadline_s=5)


# What uhubctl prints, by its README: a USB 2 hub, and a USB 3 hub with its other half.
FAKE = """#!{python}
import pathlib, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if arguments["-l"] != "1-1":
    print(f"No compatible devices detected at location {{arguments['-l']}}!", file=sys.stderr)
    print("Run with -h to get usage info.", file=sys.stderr)
    sys.exit(1)
state = pathlib.Path("ports")
ports = {{"2", "3"}} if not state.exists() else set(state.read_text().split())
port = arguments["-p"]
def show(title):
    print(f"{{title}} status for hub 1-1 [0424:9514, USB 2.00, 5 ports, ppps]")
    if int(port) <= 5:
        on = port in ports
        print(f"  Port {{port}}: " + ("0503 power highspeed enable connect [0424:ec00]" if on
              else "0000 off"))
    print(f"{{title}} status for hub 2-1 [2109:0817 VIA, USB 3.00, 4 ports, ppps]")
    print(f"  Port {{port}}: 00a0 off" if {dead_half} else f"  Port {{port}}: 02a0 power 5gbps")
show("Current")
if "-a" in arguments:
    ports = ports | {{port}} if arguments["-a"] == "on" else ports - {{port}}
    state.write_text(" ".join(ports))
    print(f"Sent power {{arguments['-a']}} request")
    show("New")
"""


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    program = folder / "bin" / "uhubctl"
    program.write_text(FAKE.format(python=sys.executable, dead_half=True))
    program.chmod(0o755)
    return program


def test_hub_port(hub: Path, folder: Path) -> None:
    one = Power("uno", {"kind": "uhubctl", "location": "1-1", "port": 2, "off_s": 0})
    assert one.get() is True
    one.off()
    assert one.get() is False
    assert (folder / "ports").read_text() == "3"
    one.on()
    assert one.get() is True


def test_power_on_the_other_half_is_power(hub: Path) -> None:
    hub.write_text(FAKE.format(python=sys.executable, dead_half=False))
    config = {"location": "1-1", "port": 4}
    assert uhubctl.get(config, deadline_s=20) is True


def test_no_such_hub(hub: Path) -> None:
    with pytest.raises(LabctlError) as caught:
        uhubctl.get({"location": "1-7", "port": 2}, deadline_s=20)
    assert "uhubctl ended with 1: No compatible devices detected at location 1-7!" in str(
        caught.value
    )


def test_hub_that_shows_nothing(hub: Path) -> None:
    hub.write_text("#!/bin/sh\necho 'Current status for hub 1-1'\n")
    with pytest.raises(LabctlError, match="the hub at 1-1 shows no port 9"):
        uhubctl.get({"location": "1-1", "port": 9}, deadline_s=20)


def test_port_12_is_not_port_1(hub: Path) -> None:
    hub.write_text("#!/bin/sh\necho '  Port 12: 0100 power'; echo '  Port 1: 0000 off'\n")
    assert uhubctl.get({"location": "1-1", "port": 1}, deadline_s=20) is False


def test_hub_that_hangs(hub: Path) -> None:
    hub.write_text("#!/bin/sh\nsleep 600\n")
    with pytest.raises(LabctlError, match=r"uhubctl did not end within 0\.3 s"):
        uhubctl.set({"location": "1-1", "port": 2}, True, deadline_s=0.3)


def test_no_uhubctl(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(DependencyError, match="sudo apt-get install uhubctl"):
        uhubctl.get({"location": "1-1", "port": 2}, deadline_s=5)
