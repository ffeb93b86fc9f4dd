"""Real boards in QEMU: U-Boot, a Debian kernel, a serial line.

The lab is driven by its own functions and the line is read raw from its socket, so nothing here
depends on the console engine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl import procs
from labctl.errors import DependencyError, UsageError
from labctl.inventory.endpoints import read_board_endpoints
from labctl.transport import qmp
from labctl.vlab import board, programs, store
from labctl.vlab import lab as engine
from labctl.vlab.board_image import BUILD_PROGRAMS
from labctl.vlab.board_model import read_virtual
from labctl.vlab.state import Machine

pytestmark = pytest.mark.vm

INVENTORY = """\
version: 1
boards:
  arm: {model: qemu-arm64, virtual: true}
  riscv: {model: qemu-riscv64, virtual: true}
"""
MODELS = {"arm": "qemu-arm64", "riscv": "qemu-riscv64"}
PROMPT = rb"\n=> "
COUNTDOWN = rb"Hit any key to stop autoboot: +\d"


class Line:
    """The raw serial line of a board."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.seen = b""
        self._from = 0

    def wait(self, pattern: bytes, *, timeout_s: float = 60.0) -> None:
        """Read until ``pattern`` comes; what came up to its end is not looked at again."""
        wanted = re.compile(pattern)
        self.read_until(lambda: wanted.search(self.seen, self._from), pattern, timeout_s)
        found = wanted.search(self.seen, self._from)
        assert found is not None
        self._from = found.end()

    def read_until(
        self, condition: Callable[[], object], what: object, timeout_s: float = 60.0
    ) -> None:
        """Read until ``condition`` is true. QEMU stands still while nobody takes what it sends."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            text = self.seen[-1500:].decode(errors="replace")
            assert time.monotonic() < deadline, f"no {what!r} after {text}"
            if select.select([self._connection], [], [], 0.05)[0]:
                data = self._connection.recv(65536)
                assert data, "the line is gone"
                self.seen += data

    def send(self, text: str) -> None:
        self._connection.sendall(text.encode())

    def to_uboot(self) -> None:
        """Stop the countdown of a board that has just been given power."""
        self.wait(COUNTDOWN)
        self.send(" ")
        self.wait(PROMPT)

    def run(self, command: str, *, timeout_s: float = 60.0) -> str:
        """Run a command of U-Boot; return what it printed."""
        before = self._from
        self.send(f"{command}; echo 'end'$?\n")
        self.wait(rb"\nend\d+\r\n(?:=> )?", timeout_s=timeout_s)
        return self.seen[before : self._from].decode(errors="replace")

    def to_shell(self) -> None:
        """Log in to Linux, which has a login prompt to show."""
        self.wait(rb"\r\n\r?[\w-]+ login: ", timeout_s=120)
        self.send("root\r")
        self.wait(rb"root@[\w-]+:/root# ")

    def shell(self, command: str) -> str:
        """Run a command in Linux's shell; return what it printed."""
        before = self._from
        self.send(f"{command}; echo 'end'$?\r")
        self.wait(rb"\nend\d+\r\n.*root@[\w-]+:[^ ]*# ")
        return self.seen[before : self._from].decode(errors="replace")


def machine(lab: Lab, name: str) -> Machine:
    with lab.environment():
        return Machine(lab.inventory, name)


@contextlib.contextmanager
def raw_line(lab: Lab, name: str) -> Iterator[Line]:
    with qmp.connect_unix(machine(lab, name).console, timeout_s=10) as connection:
        yield Line(connection)


def power(lab: Lab, name: str, *, on: bool) -> None:
    for command in ("system_reset", "cont") if on else ("stop",):
        qmp.execute(machine(lab, name).qmp, command)


@contextlib.contextmanager
def switched_on(lab: Lab, name: str) -> Iterator[Line]:
    """Start a board with its line read from the first byte, as whoever records it does."""
    stack = contextlib.ExitStack()
    lines: list[Line] = []

    def attach(started: str) -> None:
        assert engine.status(lab.inventory)[0].power == "off"
        lines.append(stack.enter_context(raw_line(lab, started)))
        board.power_on(machine(lab, started))

    with lab.environment(), stack:
        models = {name: read_virtual(MODELS[name], lab.inventory)}
        outcomes = engine.boards_up(lab.inventory, models, print, attach)
        assert [one.error for one in outcomes] == [None]
        yield lines[0]


def nothing_left(lab: Lab, name: str) -> None:
    with lab.environment():
        assert read_board_endpoints(lab.inventory) == {}
    assert not machine(lab, name).folder.exists()
    assert procs.find_by_word(str(machine(lab, name).pidfile)) == []


@pytest.fixture(params=sorted(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    """A board of each architecture; skipped, and says why, where its programs are missing."""
    model = read_virtual(MODELS[request.param], None)
    tools, files = board.programs(model)
    try:
        programs.require(tools, BUILD_PROGRAMS if model.linux else {}, files=files)
    except DependencyError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def lab(make_lab: MakeLab) -> Iterator[Lab]:
    fresh = make_lab(INVENTORY)
    yield fresh
    fresh.down()


arm_only = pytest.mark.parametrize("name", ["arm"], indirect=True)


# -- what a board is ----------------------------------------------------------------------------


def test_uboot_answers_and_every_byte_since_power_on_is_seen(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        banner = line.seen.decode()
        assert re.search(r"U-Boot 20\d\d\.\d\d.*Debian|U-Boot 20\d\d\.\d\d\+dfsg", banner)
        assert banner.lstrip().startswith("OpenSBI" if name == "riscv" else "U-Boot")
        assert "==> " in line.run("crc32 0 0x100" if name == "arm" else "crc32 0x80200000 0x100")
        assert "end1" in line.run("no-such-command")
        # QEMU's own log has it too, though not to the byte: a write that it repeats it logs twice.
        until(lambda: b"no-such-command" in machine(lab, name).console_log.read_bytes())


@arm_only
def test_left_alone_it_boots_a_debian_kernel_to_a_login(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.wait(rb"Found /extlinux/extlinux.conf")
        line.wait(rb"Linux version \S+-arm64 ")
        line.to_shell()
        assert "\r\narm\r\n" in line.shell("hostname")
        assert "aarch64" in line.shell("uname -a")
        assert "uid=0" in line.shell("id")
        mounts = line.shell("mount")
        for place in ("/tmp type tmpfs (rw", "/run type tmpfs (rw", "/boot type ext4 (ro"):
            assert place in mounts
        assert "1 packets received" in line.shell("ping -c 1 10.0.2.2")
        assert "10.0.2.15" in line.shell("ifconfig eth0")


@arm_only
def test_linux_powers_off_reboots_and_panics_as_a_board_does(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_shell()
        line.send("reboot\r")
        line.wait(COUNTDOWN)
        line.to_shell()
        line.send("poweroff\r")
        line.read_until(lambda: board.has_power(machine(lab, name)) is False, "power off")
        assert [one.power for one in engine.status(lab.inventory)] == ["off"]
        power(lab, name, on=True)
        line.to_shell()
        line.send("echo c > /proc/sysrq-trigger\r")
        line.wait(rb"Kernel panic - not syncing")
        line.read_until(lambda: board.has_power(machine(lab, name)), "power")


# -- storage and network ------------------------------------------------------------------------


@arm_only
def test_flash_is_kept_without_power_and_as_new_after_a_reset(lab: Lab, name: str) -> None:
    command = "md.l 0x4000000 1"
    with switched_on(lab, name) as line:
        line.to_uboot()
        assert "4000000: 00000000" in line.run(command)
        line.run("mw.l 0x50000000 0x600dc0de 4; protect off 0x4000000 +0x40000")
        line.run("erase 0x4000000 +0x40000; cp.b 0x50000000 0x4000000 0x10")
        power(lab, name, on=False)
        assert board.has_power(machine(lab, name)) is False
        power(lab, name, on=True)
        line.to_uboot()
        assert "4000000: 600dc0de" in line.run(command)
    model = read_virtual(MODELS[name], lab.inventory)
    with lab.environment(), contextlib.ExitStack() as stack:
        lines = []

        def attach(started: str) -> None:
            lines.append(stack.enter_context(raw_line(lab, started)))
            board.power_on(machine(lab, started))

        outcome = engine.board_reset(lab.inventory, name, model, print, attach)
        assert (outcome.result, outcome.error) == ("started", None)
        lines[0].to_uboot()
        assert "4000000: 00000000" in lines[0].run(command)


@arm_only
def test_the_saved_environment_is_there_after_a_power_cycle(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        said = line.run("setenv colour blue; saveenv")
        if "Flash buffer write timeout" in said:
            pytest.skip(
                "this QEMU refuses U-Boot's writes beyond the first 4 KiB of a sector of flash; "
                "9.0.1 and later do not ('hw/pflash: fix block write start')"
            )
        power(lab, name, on=False)
        power(lab, name, on=True)
        line.to_uboot()
        assert "colour=blue" in line.run("printenv colour")


def test_tftp_offers_what_is_put_into_its_folder(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        (board.tftp_folder(machine(lab, name)) / "hello.bin").write_bytes(b"0123456789" * 1000)
        line.run("setenv autoload no; dhcp")
        assert "Bytes transferred = 10000 " in line.run("tftpboot ${loadaddr} hello.bin")
        assert "crc32 for" in line.run("crc32 ${loadaddr} ${filesize}")
        assert f"hostname={name}" in line.run("printenv hostname")


@arm_only
def test_it_boots_over_the_network(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        line.run("setenv autoload no; dhcp; pxe get")
        line.send("pxe boot\n")
        line.wait(rb"Starting kernel")
        line.to_shell()


# -- the lab's guarantees -----------------------------------------------------------------------


def test_the_command_line_shows_it_and_down_leaves_nothing(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        lines = {one["name"]: one for one in lab.json("lab", "status")["machines"]}
        one = lines[name]
        assert (one["kind"], one["state"], one["power"]) == ("board", "up", "on")
        assert one["console"] == str(machine(lab, name).console)
        endpoint = read_board_endpoints(lab.inventory)[name]
        assert endpoint.line == f"unix:{one['console']}"
        refused = lab.labctl("lab", "shell", name, "true", check=False)
        assert (refused.returncode, f"labctl console {name}" in refused.stderr) == (2, True)
        lab.down()
        nothing_left(lab, name)
    assert lab.states() == dict.fromkeys(MODELS, "down")


def test_killed_qemu_is_a_crash_and_up_starts_afresh(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        process = machine(lab, name).find_process()
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert procs.wait_gone(process, timeout_s=20)
        assert lab.states()[name] == "crashed"
    with switched_on(lab, name) as line:
        line.to_uboot()
        assert lab.states()[name] == "up"


def test_up_again_leaves_it_alone(lab: Lab, name: str) -> None:
    with switched_on(lab, name) as line:
        line.to_uboot()
        models = {name: read_virtual(MODELS[name], lab.inventory)}
        said: list[str] = []
        outcomes = engine.boards_up(lab.inventory, models, said.append)
        assert [one.result for one in outcomes] == ["already up"]
        assert said == [f"{name}: already up"]
        line.send("\n")
        line.wait(PROMPT)  # it did not restart


def test_two_labs_run_boards_of_the_same_name(make_lab: MakeLab, name: str) -> None:
    labs = [make_lab(INVENTORY), make_lab(INVENTORY)]
    with switched_on(labs[0], name) as first, switched_on(labs[1], name) as second:
        first.to_uboot()
        second.to_uboot()
        first.run("setenv which first")
        assert "not defined" in second.run("printenv which")
        labs[1].down()
        nothing_left(labs[1], name)
        assert "which=first" in first.run("printenv which")
    labs[0].down()
    nothing_left(labs[0], name)


def test_reset_of_a_board_that_does_not_run_is_refused(lab: Lab, name: str) -> None:
    with lab.environment(), pytest.raises(UsageError, match="runs no such board"):
        engine.board_reset(lab.inventory, name, read_virtual(MODELS[name], None), print)


# -- a scripted board ---------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("labctl.vlab.scripted") is None,
    reason="labctl.vlab.scripted, which plays the board, is not there",
)
def test_a_scripted_board_is_run_by_the_same_rules(make_lab: MakeLab) -> None:
    lab = make_lab("version: 1\nboards:\n  faulty: {model: noisy, virtual: true}\n")
    folder = lab.inventory.parent / "boards/noisy"
    folder.mkdir(parents=True)
    (folder / "virtual.yaml").write_text("kind: scripted\nsettings: {seed: 7}\n")
    one = machine(lab, "faulty")
    models = {"faulty": read_virtual("noisy", lab.inventory)}
    started: list[str] = []
    with lab.environment():
        outcomes = engine.boards_up(lab.inventory, models, print, started.append)
        assert [(each.result, each.error) for each in outcomes] == [("started", None)]
        endpoint = read_board_endpoints(lab.inventory)["faulty"]
        assert (endpoint.kind, started) == ("scripted", ["faulty"])
        assert Path(endpoint.line).resolve().is_char_device()
        status = engine.status(lab.inventory)[0]
        assert (status.state, status.power, status.console) == ("up", "off", endpoint.line)
        board.power_on(one)
        assert engine.status(lab.inventory)[0].power == "on"
        first = one.find_process()
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        assert procs.wait_gone(first, timeout_s=20)
        assert engine.status(lab.inventory)[0].state == "crashed"
        engine.boards_up(lab.inventory, models, print)
        engine.board_reset(lab.inventory, "faulty", models["faulty"], print)
        assert engine.status(lab.inventory)[0].power == "on"
    lab.down()
    nothing_left(lab, "faulty")


# -- the image ----------------------------------------------------------------------------------


@arm_only
def test_a_killed_build_leaves_no_image_and_no_process(
    make_lab: MakeLab, name: str, tmp_path: Path
) -> None:
    lab = make_lab(INVENTORY, cache=tmp_path)
    images = tmp_path / "labctl/images"
    first = lab.start("lab", "image", "build", "--boards")
    until(lambda: list(images.glob(".building-*/apt/debs/*")) or first.poll() is not None)
    assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.wait()

    def ours() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return [line for line in found if str(tmp_path) in line]

    until(lambda: not ours(), timeout_s=20)
    assert lab.json("lab", "image", "list")["images"] == []
    assert list(images.glob(".building-*"))
    built = lab.json("lab", "image", "build", "--boards")["images"]
    assert [(one["kind"], one["title"]) for one in built] == [("board", "qemu-arm64")]
    assert [path.name for path in images.iterdir() if path.name != ".lock"] == [built[0]["key"]]
    assert lab.json("lab", "image", "prune")["removed"] == []  # it would be used again


@arm_only
def test_an_image_that_a_board_stands_on_is_not_replaced(lab: Lab, name: str) -> None:
    with switched_on(lab, name):
        done = lab.labctl("lab", "image", "build", "--boards", "--force", check=False)
        assert done.returncode == 4
        assert "running machines stand on it" in done.stderr
        with lab.environment():
            record = machine(lab, name).read()
            assert record is not None
            assert record.image in store.keys_in_use()
