"""Adapters as entries of an inventory."""

from pathlib import Path

import pytest

from labctl.boards import discover as module
from labctl.boards.discover import discover, to_yaml
from labctl.inventory.compiling import compile_text
from labctl.transport.lines.udev import Port


def port(device: str, **properties: str) -> Port:
    return Port(Path(device), properties)


FTDI = {"ID_MODEL": "Quad_RS232-HS", "ID_SERIAL_SHORT": "FT4X", "ID_VENDOR": "FTDI"}


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [
        port("/dev/ttyUSB0", **FTDI, ID_USB_INTERFACE_NUM="00"),
        port("/dev/ttyUSB1", **FTDI, ID_USB_INTERFACE_NUM="01"),
        port("/dev/ttyUSB2", ID_MODEL="USB_Serial", ID_PATH="pci-0000:00:14.0-usb-0:2:1.0"),
    ]
    monkeypatch.setattr(module.udev, "serial_ports", lambda **_: ports)


def test_every_port_has_a_line_and_a_name_of_its_own(plugged: None) -> None:
    found = discover(["usb-serial"])
    assert [one.name for one in found] == ["quad-rs232-hs", "quad-rs232-hs-01", "usb-serial-2"]
    assert len({one.line for one in found}) == 3
    assert "ID_USB_INTERFACE_NUM=01" in found[1].line
    assert [one.by_socket for one in found] == [False, False, True]


def test_what_is_printed_is_an_inventory(plugged: None) -> None:
    adapters = discover()
    static = compile_text(to_yaml(adapters), Path("inventory.yaml"))
    assert {name: board.line for name, board in static.inventory.boards.items()} == {
        one.name: one.line for one in adapters
    }
    assert "holds for this USB socket only" in to_yaml(adapters)
