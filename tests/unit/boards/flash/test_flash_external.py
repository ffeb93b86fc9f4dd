"""Methods that run a program: what they tell it, and what they make of what it says."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.boards.flash import external, runner
from labctl.boards.flash.external import External
from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import Progress, RefusedError, Target, VerifyError
from labctl.boards.flash.planner import method_class, targets
from labctl.boards.keys import problems
from labctl.boards.model import load_model
from labctl.errors import LabctlError, UnreachableError
from labctl.inventory.model import Board

FILE = Path("image.bin")
PIECE = Segment(0x8004000, b"x" * 300)
NAMES = ("openocd", "pyocd", "dfu-util", "fastboot", "picotool", "openfpgaloader", "iceprog")
DFU = {"device": "0483:df11", "dfuse": True}
CONFIGS: dict[str, dict[str, Any]] = {
    "openocd": {"interface": "interface/stlink.cfg", "script": "target/stm32f4x.cfg"},
    "pyocd": {"chip": "stm32f446retx"},
    "dfu-util": DFU,
    "fastboot": {"partition": "boot"},
    "picotool": {},
    "openfpgaloader": {"board": "ice40_generic"},
    "iceprog": {},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make(name: str, config: dict[str, Any] | None = None, serial: str | None = "S123") -> External:
    identity = {"probe": serial} if serial else {}
    board = Board("nucleo", "stm32-nucleo-f446re", identity=identity)
    bench = SimpleNamespace(board=board, name="nucleo", model=load_model(board, None))
    found = method_class(name)
    assert found is not None
    known = CONFIGS[name] if config is None else config
    assert problems(found.keys, known) == []
    made = found(bench, Target("flash", name, known), lambda text: None)  # type: ignore[arg-type]
    assert isinstance(made, External)
    made.serial = serial or ""
    return made


def words(command: list[str] | None) -> str:
    return " ".join(command or [])


GOLDEN = {
    "openocd": (
        "openocd -f interface/stlink.cfg -c adapter serial S123 -f target/stm32f4x.cfg -c init "
        "-c targets -c shutdown",
        "openocd -f interface/stlink.cfg -c adapter serial S123 -f target/stm32f4x.cfg -c init "
        "-c reset halt -c flash write_image erase image.bin 0x8004000 bin -c shutdown",
        "openocd -f interface/stlink.cfg -c adapter serial S123 -f target/stm32f4x.cfg -c init "
        "-c reset halt -c dump_image image.bin 0x8004000 0x12c -c shutdown",
        "openocd -f interface/stlink.cfg -c adapter serial S123 -f target/stm32f4x.cfg -c init "
        "-c reset run -c shutdown",
    ),
    "pyocd": (
        "pyocd commander --uid S123 --target stm32f446retx --no-wait --command status",
        "pyocd flash --uid S123 --target stm32f446retx --no-wait --erase sector --format bin "
        "--base-address 0x8004000 image.bin",
        "pyocd commander --uid S123 --target stm32f446retx --no-wait "
        "--command savemem 0x8004000 0x12c image.bin",
        "pyocd reset --uid S123 --target stm32f446retx --no-wait",
    ),
    "dfu-util": (
        "dfu-util -d 0483:df11 -S S123 -a 0 -l",
        "dfu-util -d 0483:df11 -S S123 -a 0 -s 0x8004000 -D image.bin",
        "dfu-util -d 0483:df11 -S S123 -a 0 -s 0x8004000:300 -U image.bin",
        "",
    ),
    "fastboot": (
        "fastboot -s S123 getvar product",
        "fastboot -s S123 flash boot image.bin",
        "",
        "fastboot -s S123 reboot",
    ),
    "picotool": (
        "picotool info -d --ser S123 -f",
        "picotool load image.bin -t bin -o 0x8004000 --ser S123 -f",
        "picotool save -r 8004000 8004200 image.bin -t bin --ser S123 -f",
        "picotool reboot --ser S123 -f",
    ),
    "openfpgaloader": (
        "openFPGALoader --board ice40_generic --ftdi-serial S123 --detect",
        "openFPGALoader --board ice40_generic --ftdi-serial S123 --write-flash --file-type bin "
        "--offset 134234112 image.bin",
        "openFPGALoader --board ice40_generic --ftdi-serial S123 --dump-flash --file-size 300 "
        "--offset 134234112 image.bin",
        "openFPGALoader --board ice40_generic --ftdi-serial S123 --reset",
    ),
    "iceprog": (
        "iceprog -d s:0x0403:0x6010:S123 -I A -t",
        "iceprog -d s:0x0403:0x6010:S123 -I A -i 4 -o 134234112 -X image.bin",
        "iceprog -d s:0x0403:0x6010:S123 -I A -o 134234112 -R 300 image.bin",
        "",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_program_is_told(name: str) -> None:
    method = make(name)
    said = (method.look(), method.put(FILE, PIECE), method.get(FILE, PIECE), method.go())
    assert tuple(map(words, said)) == GOLDEN[name]


def test_plain_dfu_knows_no_addresses() -> None:
    method = make("dfu-util", {"device": "1d50:6130", "alt": 1})
    assert words(method.put(FILE, PIECE)) == "dfu-util -d 1d50:6130 -S S123 -a 1 -D image.bin"
    assert method.get(FILE, PIECE) is None
    assert words(method.go()) == "dfu-util -d 1d50:6130 -S S123 -a 1 -e -R"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_names_the_one_adapter(name: str) -> None:
    method = make(name)
    for command in (method.look(), method.put(FILE, PIECE), method.get(FILE, PIECE), method.go()):
        assert not command or "S123" in words(command)


def test_an_adapter_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external.udev, "serial_ports", list)
    with pytest.raises(RefusedError, match=re.escape("identity: {probe: SERIAL}")):
        make("openocd", serial=None).connect()


def test_the_adapter_is_that_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    port = SimpleNamespace(device=Path("/dev/ttyACM7"), properties={"ID_SERIAL_SHORT": "0667"})
    monkeypatch.setattr(external.udev, "serial_ports", lambda: [port])
    bench = SimpleNamespace(board=Board("n", "m", line="/dev/ttyACM7"), name="n")
    assert external.adapter_serial(bench) == "0667"  # type: ignore[arg-type]
    # A port of another computer is none of this one, whatever its name.
    far = SimpleNamespace(board=Board("n", "m", line="/dev/ttyACM7", host="box"), name="n")
    with pytest.raises(RefusedError):
        external.adapter_serial(far)  # type: ignore[arg-type]


# -- a program that is one of ours --------------------------------------------------------------

FAKE = """#!/usr/bin/env python3
import json, sys
from pathlib import Path
state = Path(sys.argv[0]).with_name("state.json")
known = json.loads(state.read_text()) if state.exists() else {}
words = sys.argv[1:]
known.setdefault("calls", []).append(words)
state.write_text(json.dumps(known))
memory = Path(sys.argv[0]).with_name("memory.bin")
do = " ".join(words)
if known.get("absent"):
    print("Error: open failed"); sys.exit(1)
if "write_image" in do:
    name, at = do.split("erase ")[1].split()[:2]
    data = Path(name).read_bytes()
    print("Info : half"); print("50%"); print("100%")
    if known.get("lies"):
        data = data[:-1] + bytes([data[-1] ^ 1])
    if known.get("fails"):
        print("Error: couldn't write"); sys.exit(0)
    old = memory.read_bytes() if memory.exists() else bytes([255]) * 0x80000
    begin = int(at, 16) - 0x08000000
    memory.write_bytes(old[:begin] + data + old[begin + len(data):])
    print(f"wrote {len(data)} bytes from file {name}")
if "dump_image" in do:
    name, at, size = do.split("dump_image ")[1].split()[:3]
    old = memory.read_bytes() if memory.exists() else bytes([255]) * 0x80000
    begin = int(at, 16) - 0x08000000
    Path(name).write_bytes(old[begin:begin + int(size, 16)])
if "targets" in do:
    print("Info : [stm32f4x.cpu] Cortex-M4 r0p1 processor detected")
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "openocd"
    path.write_text(FAKE)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(runner, "find", lambda name: str(path) if name == "openocd" else None)

    def behave(**how: bool) -> Path:
        (folder / "state.json").write_text(json.dumps(how))
        return folder

    behave()
    return behave


def test_from_end_to_end(fake: Callable[..., Path]) -> None:
    folder = fake()
    method = make("openocd")
    data = bytes(range(256)) * 40
    image = Image(Path("fw.bin"), "raw", (Segment(0, data),))
    segments = method.layout(image)
    assert segments[0].address == 0x08000000
    identity = method.connect()
    assert identity.facts == {"probe": "S123", "processor": "Cortex-M4 r0p1"}
    assert identity.unique == {"probe"}
    assert method.same(segments).same is False
    seen: list[tuple[str, int, int]] = []
    progress = Progress(lambda *one: seen.append(one))
    method.write(segments, progress)
    assert ("write", len(data) // 2, len(data)) in seen
    assert method.verify(segments, progress).same is True
    assert method.same(segments).same is True
    method.finish()
    calls = json.loads((folder / "state.json").read_text())["calls"]
    assert all("adapter serial S123" in call for call in calls)


def test_a_program_that_lies_is_found_out(fake: Callable[..., Path]) -> None:
    fake(lies=True)
    method = make("openocd")
    segments = (Segment(0x08000000, b"abcd" * 100),)
    method.connect()
    method.write(segments, Progress())
    with pytest.raises(VerifyError, match="0x800018f"):
        method.verify(segments, Progress())


def test_an_error_with_exit_code_0_is_an_error(fake: Callable[..., Path]) -> None:
    fake(fails=True)
    method = make("openocd")
    method.connect()
    with pytest.raises(LabctlError, match=r"write \(and yet exit code 0\)"):
        method.write((Segment(0x08000000, b"abcd"),), Progress())


def test_an_adapter_that_is_not_there(fake: Callable[..., Path]) -> None:
    fake(absent=True)
    with pytest.raises(UnreachableError, match="open failed; plug in S123") as error:
        make("openocd").connect()
    assert error.value.thing == "nucleo"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RefusedError):
        make("openocd").layout(Image(Path("f"), "raw", (Segment(0, b"x" * 0x80001),)))


@pytest.mark.parametrize(
    ("model", "methods"),
    [
        ("stm32-nucleo-f446re", {"openocd", "pyocd"}),
        ("icebreaker", {"iceprog", "openfpgaloader"}),
        ("raspberry-pi-pico", {"picotool"}),
        ("arduino-uno", {"avrdude"}),
    ],
)
def test_shipped_models_use_them_rightly(model: str, methods: set[str]) -> None:
    known = {one.method: one for one in targets(load_model(Board("b", model), None))}
    assert methods <= set(known)
    for name in methods:
        found = method_class(name)
        assert found is not None
        assert problems(found.keys, known[name].config) == []


# -- the real programs, without hardware --------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("openocd", "open failed"),
        ("dfu-util", "lists no such board"),
        ("iceprog", "Can't find iCE FTDI USB device"),
        ("openfpgaloader", "unable to open ftdi device"),
        ("fastboot", "waiting for S123"),
        ("pyocd", "No connected debug probe"),
    ],
)
def test_the_real_program_without_a_board(name: str, cause: str) -> None:
    method = make(name)
    if method.missing():
        pytest.skip(str(method.missing()))
    with pytest.raises(UnreachableError, match=re.escape(cause)) as error:
        method.connect()
    assert "plug in S123" in error.value.action
