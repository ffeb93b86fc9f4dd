"""Virtual AVR boards: their files, and what is compiled for them; the rest is on the wire."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import DependencyError, LabctlError
from labctl.inventory.diagnostics import InventoryError
from labctl.vlab.avr import build as building
from labctl.vlab.avr.board import command_line
from labctl.vlab.avr.build import Built, build, loader_command
from labctl.vlab.avr.parts import AvrModel
from labctl.vlab.board_model import read_virtual
from labctl.vlab.programs import packages

SHIPPED = Path(__file__).parents[3] / "boards/arduino-uno/virtual.yaml"


def uno() -> AvrModel:
    model = read_virtual("arduino-uno", None)
    assert isinstance(model, AvrModel)
    return model


def missing() -> str:
    try:
        building.require_parts([uno()])
    except DependencyError as error:
        return str(error)
    return ""


needs_parts = pytest.mark.skipif(bool(missing()), reason=missing() or "there")


def test_the_shipped_model() -> None:
    model = uno()
    assert (model.part, model.hz, model.flash_bytes) == ("atmega328p", 16_000_000, 32768)
    assert model.loader.address + model.loader.size == model.flash_bytes
    assert model.loader.version_at == model.flash_bytes - 2
    assert model.reset_on_open


def test_what_it_is_made_of_is_among_the_packages_of_the_lab() -> None:
    wanted = {uno().loader.package, *building.PROGRAMS.values()}
    wanted |= {package for _, package in building.FILES}
    # The boot loader's package depends on its compiler (apt-cache depends arduino-core-avr).
    brought = (
        {"avr-libc", "binutils-avr", "gcc-avr"} if uno().loader.package in packages() else set()
    )
    assert wanted - brought <= set(packages())


def test_the_commands() -> None:
    words = loader_command(uno(), Path("loader.elf"))
    assert "-Wl,--section-start=.text=0x7e00" in words
    assert "-Wl,--section-start=.version=0x7ffe" in words
    assert "-DBAUD_RATE=115200" in words
    run = command_line("uno", Path("/x/pid"), uno(), Built(Path("/c/simulator"), Path("/c/f")))
    assert run == ["/c/simulator", "uno", "/x/pid", "atmega328p", "16000000", "0x7e00", "1"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("part: atmega328p", "part: -x", "'-x' does not fit here; write something like"),
        ("hz: 16000000", "hz: fast", "'hz' must be a whole number"),
        ("  size: 512", "  size: 1", "'size'"),
        ("BAUD_RATE: 115200", "'A B': 1", "'A B' does not fit"),
        ("    - -mrelax", "    - mrelax", "'mrelax' does not fit"),
        ("flash_bytes: 32768\n", "", "'flash_bytes' is missing"),
        ("kind: avr", "kind: arv", "'kind' must be"),
    ],
)
def test_a_mistake_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    text = SHIPPED.read_text()
    assert old in text
    folder = tmp_path / "boards/mine"
    folder.mkdir(parents=True)
    (folder / "virtual.yaml").write_text(text.replace(old, new))
    with pytest.raises(InventoryError) as caught:
        read_virtual("mine", tmp_path / "inventory.yaml")
    assert said in str(caught.value)


@needs_parts
def test_it_is_made_once_and_again_when_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = build(uno())
    made = first.flash.stat().st_mtime_ns
    assert build(uno()) == first
    assert first.flash.stat().st_mtime_ns == made
    loader = replace(uno().loader, defines={"BAUD_RATE": 57600, "LED_START_FLASHES": 3})
    other = build(replace(uno(), loader=loader))
    assert other.flash.parent != first.flash.parent
    assert other.flash.read_bytes() != first.flash.read_bytes()
    # Nothing half made lies about.
    assert len([one for one in (tmp_path / "labctl/avr").iterdir() if one.is_dir()]) == 2


@needs_parts
def test_a_loader_that_does_not_fit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian compiles it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loader = replace(uno().loader, options=("-fno-split-wide-types", "-mshort-calls"))
    with pytest.raises(LabctlError, match=r"this compiler makes 5\d\d bytes of it"):
        build(replace(uno(), loader=loader))
    with pytest.raises(LabctlError, match="avr-gcc failed"):
        build(replace(uno(), part="atnothing"))
