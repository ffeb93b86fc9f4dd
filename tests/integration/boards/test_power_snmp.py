"""Power through SNMP, against net-snmp's agent playing APC's and Raritan's PDUs."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl.boards.power.snmp import MODELS
from labctl.boards.power.switch import Power
from labctl.errors import LabctlError, UnreachableError

SNMPD = shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytest.importorskip("pysnmp", reason="pysnmp is not installed")
pytestmark = pytest.mark.skipif(SNMPD is None, reason="snmpd is not installed")

# A PDU for pass_persist (snmpd.conf(5)): a command changes a state, which is another integer with
# other values, and which passes through "rebooting" where there is a file of that name.
PDU = """#!{python}
import pathlib, sys
control, on, off = {control!r}, {on}, {off}
status, is_on, is_off = {status!r}, {is_on}, {is_off}
here = pathlib.Path(__file__).parent
state = is_off
def say(*lines):
    print("\\n".join(lines), flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "PING":
        say("PONG")
    elif word in ("get", "getnext"):
        oid = sys.stdin.readline().strip()
        known = {{control: on if state == is_on else off, status: state}}
        if word == "get" and oid in known:
            value = known[oid]
            if oid == status and (here / "rebooting").exists():
                (here / "rebooting").unlink()
                value = 99
            say(oid, "integer", str(value))
        else:
            say("NONE")
    elif word == "set":
        oid, value = sys.stdin.readline().strip(), sys.stdin.readline().split()
        wanted = {{on: is_on, off: is_off}}.get(int(value[1]))
        if oid != control or wanted is None:
            say("not-writable")
        else:
            state = wanted
            say("DONE")
"""

Start = Callable[[str], int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts snmpd with a configuration and returns its port."""
    running: list[subprocess.Popen[bytes]] = []
    log = tmp_path / "log"

    def begin(configuration: str) -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        path = tmp_path / "snmpd.conf"
        communities = "rwcommunity hush 127.0.0.1\nrocommunity peek 127.0.0.1\n"
        path.write_text(communities + configuration)
        assert SNMPD is not None
        line = [SNMPD, "-f", "-C", "-r", "-Lf", str(log), "-c", str(path),
                f"udp:127.0.0.1:{port}"]  # fmt: skip
        environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(tmp_path / "state"), "MIBS": ""}
        running.append(subprocess.Popen(line, env=environment))
        deadline = time.monotonic() + 30
        while not log.exists() or "NET-SNMP version" not in log.read_text():
            assert running[-1].poll() is None, "snmpd ended"
            assert time.monotonic() < deadline, "snmpd does not begin"
            time.sleep(0.05)
        return port

    yield begin
    for process in running:
        process.terminate()
        process.wait(30)


@pytest.fixture
def community(tmp_path: Path) -> Callable[[str], str]:
    def write(word: str) -> str:
        (tmp_path / word).write_text(f"{word}\n")
        return str(tmp_path / word)

    return write


def pdu(port: int, community_file: str, **config: object) -> Power:
    told = {"kind": "snmp", "host": "127.0.0.1", "port": port, "community_file": community_file,
            "off_s": 0, "deadline_s": 10, **config}  # fmt: skip
    return Power("uno", told)


def configuration(tmp_path: Path, name: str, outlet: int) -> str:
    """Return the configuration for a PDU of the kind ``name`` with one ``outlet``, and write it."""
    one = MODELS[name].numbered(outlet)
    program = tmp_path / "pdu.py"
    program.write_text(
        PDU.format(
            python=sys.executable, control=f".{one.oid}", on=one.on, off=one.off,
            status=f".{one.status_oid}", is_on=one.status_on, is_off=one.status_off,
        )
    )  # fmt: skip
    program.chmod(0o755)
    vendor = ".".join(one.oid.split(".")[:7])
    return f"pass_persist .{vendor} {program}\n"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["apc-rpdu", "apc-rpdu2", "raritan-px2"])
def test_pdu(
    name: str, version: int, start: Start, community: Callable[[str], str], tmp_path: Path
) -> None:
    port = start(configuration(tmp_path, name, 7))
    one = pdu(port, community("hush"), pdu=name, outlet=7, version=version)
    assert one.get() is False
    one.on()
    assert one.get() is True
    (tmp_path / "rebooting").touch()
    one.cycle()
    assert one.get() is True
    assert not (tmp_path / "rebooting").exists()
    one.off()
    assert one.get() is False


@pytest.mark.parametrize("version", [1, 2])
def test_one_integer_for_both(version: int, start: Start, community: Callable[[str], str]) -> None:
    """APC's MasterSwitch, and any agent by its object identifier."""
    oid = MODELS["apc-masterswitch"].numbered(3).oid
    port = start(f"override -rw .{oid} integer 2\n")
    one = pdu(port, community("hush"), pdu="apc-masterswitch", outlet=3, version=version)
    one.on()
    by_oid = pdu(port, community("hush"), oid=f".{oid}", version=version)
    assert by_oid.get() is True
    by_oid.off()
    assert one.get() is False


def test_refusals(start: Start, community: Callable[[str], str], tmp_path: Path) -> None:
    port = start(configuration(tmp_path, "apc-rpdu2", 7))
    right: dict[str, object] = {"pdu": "apc-rpdu2", "outlet": 7}
    with pytest.raises(LabctlError, match=r"refuses .*: noAccess; check .* may write"):
        pdu(port, community("peek"), **right).on()
    for version in (1, 2):
        with pytest.raises(LabctlError, match=r"refuses .*\.8: "):
            pdu(port, community("hush"), pdu="apc-rpdu2", outlet=8, version=version).get()
    with pytest.raises(UnreachableError, match="does not answer SNMP") as caught:
        pdu(port, community("wrong-hunter2"), deadline_s=2, **right).on()
    assert "hunter2" not in str(caught.value)
    assert pdu(port, community("hush"), **right).get() is False


def test_state_that_is_neither(start: Start, community: Callable[[str], str]) -> None:
    port = start("override -rw .1.3.6.1.4.1.99999.1.1 integer 7\n")
    one = pdu(port, community("hush"), oid="1.3.6.1.4.1.99999.1.1", deadline_s=1)
    with pytest.raises(LabctlError, match=r"says 7 of .*, neither on nor off"):
        one.get()


def test_nobody_there(community: Callable[[str], str]) -> None:
    one = pdu(1, community("hush"), oid="1.3.6.1.4.1.99999.1.1", deadline_s=1)
    with pytest.raises(UnreachableError, match="does not answer SNMP"):
        one.get()


def test_name_that_is_not_known(community: Callable[[str], str]) -> None:
    told = {"kind": "snmp", "host": "pdu.invalid", "community_file": community("hush"),
            "oid": "1.3.6.1.4.1.99999.1.1", "deadline_s": 10}  # fmt: skip
    with pytest.raises(UnreachableError):
        Power("uno", told).get()
