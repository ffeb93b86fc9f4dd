"""Finding ports by udev properties, in made-up trees of sysfs and of udev's database."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UnreachableError, UsageError
from labctl.transport.lines import udev


@dataclass
class Tree:
    """A sysfs and a udev database below one folder."""

    folder: Path
    numbers: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> dict[str, Path]:
        return {"sysfs": self.folder / "sys", "udev_data": self.folder / "udev"}

    def node(self, path: str, *, subsystem: str = "", driver: str = "", **attributes: str) -> Path:
        """Make a device folder of sysfs."""
        folder = self.folder / "sys/devices" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in (("subsystem", subsystem), ("driver", driver)):
            if target and not (folder / name).is_symlink():
                there = self.folder / "sys/bus" / target
                there.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(there)
        for name, value in attributes.items():
            (folder / name).write_text(value + "\n")
        return folder

    def tty(self, name: str, parent: Path | None, number: str, **attributes: str) -> None:
        """Make ``/sys/class/tty/NAME`` for the device ``parent`` (None: a virtual console)."""
        major, minor = number.split(":")
        event = f"MAJOR={major}\nMINOR={minor}\nDEVNAME={name}"
        base = parent or self.folder / "sys/devices/virtual"
        entry = base / "tty" / name
        entry.mkdir(parents=True)
        (entry / "uevent").write_text(event + "\n")
        for key, value in attributes.items():
            (entry / key).write_text(value + "\n")
        if parent:
            (entry / "device").symlink_to(parent)
        classes = self.folder / "sys/class/tty"
        classes.mkdir(parents=True, exist_ok=True)
        (classes / name).symlink_to(entry)
        self.numbers[name] = number

    def database(self, name: str, *links: str, **properties: str) -> None:
        """Write udev's record of a tty."""
        lines = [f"S:{link}" for link in links] + ["I:1234567", "G:seat", "V:1"]
        lines += [f"E:{key}={value}" for key, value in properties.items()]
        (self.folder / "udev").mkdir(exist_ok=True)
        (self.folder / "udev" / f"c{self.numbers[name]}").write_text("\n".join(lines) + "\n")

    def usb_serial(
        self,
        name: str,
        minor: int,
        *,
        place: str,
        interface: str = "00",
        serial: str = "",
        model: str = "Quad RS232-HS",
        port_number: str = "",
        recorded: bool = True,
    ) -> None:
        """Make a port of an FTDI adapter at the USB place ``place`` (such as 1-2.3)."""
        host = "pci0000:00/0000:00:14.0"
        self.node("pci0000:00")
        self.node(host, subsystem="pci", driver="xhci_hcd")
        self.node(f"{host}/usb1", subsystem="usb", driver="usb")
        strings = {"manufacturer": "FTDI", "product": model} | (
            {"serial": serial} if serial else {}
        )
        device = f"{host}/usb1/{place}"
        if not (self.folder / "sys/devices" / device).exists():
            self.node(
                device, subsystem="usb", driver="usb", idVendor="0403", idProduct="6011", **strings
            )
        number = int(interface)
        inner = f"{device}/{place}:1.{number}"
        if not (self.folder / "sys/devices" / inner).exists():
            self.node(inner, subsystem="usb", driver="ftdi_sio", bInterfaceNumber=interface)
        more = {"port_number": port_number} if port_number else {}
        port = self.node(f"{inner}/{name}", subsystem="usb-serial", driver="ftdi_sio", **more)
        self.tty(name, port, f"188:{minor}")
        if recorded:
            short = model.replace(" ", "_")
            full = "_".join(part for part in ("FTDI", short, serial) if part)
            self.database(
                name,
                f"serial/by-path/pci-0000:00:14.0-usb-0:{place[2:]}:1.{number}-port0",
                f"serial/by-id/usb-{full}-if{interface}-port0",
                ID_BUS="usb",
                ID_VENDOR="FTDI",
                ID_VENDOR_ID="0403",
                ID_MODEL=short,
                ID_MODEL_ID="6011",
                ID_SERIAL=full,
                **({"ID_SERIAL_SHORT": serial} if serial else {}),
                ID_PATH=f"pci-0000:00:14.0-usb-0:{place[2:]}:1.{number}",
                ID_USB_INTERFACE_NUM=interface,
                ID_VENDOR_FROM_DATABASE="Future Technology Devices International, Ltd",
            )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a machine with consoles, a ttyS without UART and one with."""
    tree = Tree(tmp_path)
    tree.tty("tty0", None, "4:0")
    tree.tty("ttyS1", tree.node("platform/serial8250", subsystem="platform"), "4:65", type="0")
    pnp = tree.node("pnp0/00:01", subsystem="pnp", driver="serial")
    control = tree.node("pnp0/00:01/00:01:0", subsystem="serial-base", driver="ctrl")
    port = tree.node("pnp0/00:01/00:01:0/00:01:0.0", subsystem="serial-base", driver="port")
    assert pnp in control.parents
    tree.tty("ttyS0", port, "4:64", type="4")
    return tree


@pytest.fixture
def quad(tree: Tree) -> Tree:
    for number in range(4):
        tree.usb_serial(
            f"ttyUSB{number + 8}", number, place="1-2.3", interface=f"{number:02}", serial="FT4X1"
        )
    return tree


def names(tree: Tree) -> list[str]:
    return [port.device.name for port in udev.serial_ports(**tree.where)]


def test_ports_are_what_has_hardware(tree: Tree) -> None:
    assert names(tree) == ["ttyS0"]
    (port,) = udev.serial_ports(**tree.where)
    assert port.properties["DRIVER"] == "serial"
    assert port.describe() == "/dev/ttyS0 (serial)"


def test_order_is_natural(quad: Tree) -> None:
    assert names(quad) == ["ttyS0", "ttyUSB8", "ttyUSB9", "ttyUSB10", "ttyUSB11"]


def test_no_sysfs_is_no_ports(tmp_path: Path) -> None:
    assert udev.serial_ports(sysfs=tmp_path / "no", udev_data=tmp_path / "no") == []


def test_properties_and_links_are_udevs(quad: Tree) -> None:
    port = next(one for one in udev.serial_ports(**quad.where) if one.device.name == "ttyUSB9")
    assert port.properties["ID_SERIAL_SHORT"] == "FT4X1"
    assert port.properties["ID_USB_INTERFACE_NUM"] == "01"
    assert port.properties["DRIVER"] == "ftdi_sio"
    assert port.properties["DEVNAME"] == "/dev/ttyUSB9"
    assert Path("/dev/serial/by-id/usb-FTDI_Quad_RS232-HS_FT4X1-if01-port0") in port.links
    assert port.describe() == "/dev/ttyUSB9 (FTDI Quad RS232-HS FT4X1)"


def test_without_udev_sysfs_says_the_same(tmp_path: Path) -> None:
    recorded, bare = Tree(tmp_path / "a"), Tree(tmp_path / "b")
    recorded.folder.mkdir()
    bare.folder.mkdir()
    for tree in (recorded, bare):
        tree.usb_serial(
            "ttyUSB0", 0, place="1-2.3", interface="02", serial="A5XK", recorded=tree is recorded
        )
    (with_udev,) = udev.serial_ports(**recorded.where)
    (without,) = udev.serial_ports(**bare.where)
    expected = dict(with_udev.properties)
    del expected["ID_VENDOR_FROM_DATABASE"]
    assert dict(without.properties) == expected


def test_a_port_of_a_multi_port_adapter_is_found_by_its_interface(quad: Tree) -> None:
    wanted = udev.parse_match("ID_SERIAL_SHORT=FT4X1,ID_USB_INTERFACE_NUM=02")
    assert udev.find(wanted, **quad.where) == Path("/dev/ttyUSB10")


def test_several_ports_name_the_choices(quad: Tree) -> None:
    with pytest.raises(UsageError) as caught:
        udev.find({"ID_SERIAL_SHORT": "FT4X1"}, **quad.where)
    said = str(caught.value)
    assert "4 ports match: /dev/ttyUSB8, /dev/ttyUSB9, /dev/ttyUSB10, /dev/ttyUSB11" in said
    assert "udev:ID_SERIAL_SHORT=FT4X1,ID_USB_INTERFACE_NUM=03" in said


def test_no_port_names_the_nearest(quad: Tree) -> None:
    with pytest.raises(UnreachableError) as caught:
        udev.find({"ID_SERIAL_SHORT": "FT4X1", "ID_USB_INTERFACE_NUM": "7"}, **quad.where)
    assert "nearest is /dev/ttyUSB8, which has ID_USB_INTERFACE_NUM=00" in str(caught.value)
    with pytest.raises(UnreachableError, match="ports here: /dev/ttyS0"):
        udev.find({"ID_SERIAL_SHORT": "other"}, **quad.where)


def test_no_port_at_all_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no serial port is plugged into this machine"):
        udev.find({"ID_SERIAL_SHORT": "x"}, sysfs=tmp_path, udev_data=tmp_path)


def test_adapters_without_serial_number_are_told_apart_by_place(tree: Tree) -> None:
    tree.usb_serial("ttyUSB0", 0, place="1-1", model="CH340")
    tree.usb_serial("ttyUSB1", 1, place="1-2", model="CH340")
    ports = udev.serial_ports(**tree.where)
    second = next(port for port in ports if port.device.name == "ttyUSB1")
    assert udev.naming(second, ports) == {"ID_PATH": "pci-0000:00:14.0-usb-0:2:1.0"}
    with pytest.raises(UsageError, match=r"ID_PATH=pci-0000:00:14\.0-usb-0:2:1\.0"):
        udev.find({"ID_MODEL": "CH340"}, **tree.where)


def test_every_port_gets_a_name_that_finds_it(quad: Tree) -> None:
    quad.usb_serial("ttyUSB20", 20, place="1-4", serial="FT4X1")  # a clone with the same number
    quad.usb_serial("ttyUSB21", 21, place="1-5", serial="OTHER")
    quad.usb_serial("ttyUSB22", 22, place="1-6", port_number="0")
    quad.usb_serial("ttyUSB23", 23, place="1-6", port_number="1")  # two ports on one interface
    ports = udev.serial_ports(**quad.where)
    assert len(ports) == 9
    for port in ports:
        name = udev.naming(port, ports)
        assert udev.find(udev.parse_match(udev.format_match(name)[5:]), **quad.where) == port.device
    by_name = {port.device.name: udev.naming(port, ports) for port in ports}
    assert by_name["ttyUSB21"] == {"ID_SERIAL_SHORT": "OTHER"}
    assert by_name["ttyUSB9"] == {"ID_SERIAL_SHORT": "FT4X1", "ID_USB_INTERFACE_NUM": "01"}
    assert set(by_name["ttyUSB23"]) == {"ID_PATH", "ID_PORT"}
    assert by_name["ttyS0"] == {"DEVNAME": "/dev/ttyS0"}


def test_an_adapter_is_the_same_under_every_name_of_the_kernel(tree: Tree, tmp_path: Path) -> None:
    tree.usb_serial("ttyUSB0", 0, place="1-1", serial="A5XK")
    here = udev.identity(Path("/dev/ttyUSB0"), **tree.where)
    later = Tree(tmp_path / "later")
    later.usb_serial("ttyUSB0", 0, place="1-1", serial="OTHER")
    later.usb_serial("ttyUSB7", 7, place="1-4", serial="A5XK")
    assert here is not None
    assert udev.identity(Path("/dev/ttyUSB7"), **later.where) == here
    assert udev.identity(Path("/dev/ttyUSB0"), **later.where) not in (None, here)


def test_what_else_is_plugged_in_does_not_change_an_identity(tree: Tree, tmp_path: Path) -> None:
    tree.usb_serial("ttyUSB0", 0, place="1-1", serial="A5XK")
    alone = udev.identity(Path("/dev/ttyUSB0"), **tree.where)
    tree.usb_serial("ttyUSB1", 1, place="1-1", interface="01", serial="A5XK")
    tree.usb_serial("ttyUSB2", 2, place="1-2", serial="B")
    assert udev.identity(Path("/dev/ttyUSB0"), **tree.where) == alone


def test_every_identity_is_that_of_one_port(quad: Tree) -> None:
    quad.usb_serial("ttyUSB20", 20, place="1-4", serial="FT4X1")  # a clone with the same number
    quad.usb_serial("ttyUSB22", 22, place="1-6", port_number="0")
    quad.usb_serial("ttyUSB23", 23, place="1-6", port_number="1")  # two ports on one interface
    known = {
        port.device.name: udev.identity(port.device, **quad.where)
        for port in udev.serial_ports(**quad.where)
    }
    assert known.pop("ttyS0") is None  # its name lasts
    shown = [str(sorted(one.items())) for one in known.values() if one]
    assert len(set(shown)) == len(known) == 7
    clone = known["ttyUSB20"]
    assert clone is not None
    assert clone["ID_PATH"] == "pci-0000:00:14.0-usb-0:4:1.0"
    assert udev.identity(Path("/dev/pts/3"), **quad.where) is None
    assert udev.identity(Path("/elsewhere/ttyUSB20"), **quad.where) is None


def test_a_device_cannot_write_to_the_terminal_by_its_name(tree: Tree) -> None:
    tree.usb_serial("ttyUSB0", 0, place="1-1", serial="\x1b]0;boo\x07evil")
    port = udev.serial_ports(**tree.where)[-1]
    assert "\x1b" not in port.describe()


def test_a_comma_in_a_value_does_not_separate() -> None:
    assert udev.parse_match("ID_VENDOR_FROM_DATABASE=Future, Ltd,ID_MODEL=x=y") == {
        "ID_VENDOR_FROM_DATABASE": "Future, Ltd",
        "ID_MODEL": "x=y",
    }


@pytest.mark.parametrize("text", ["", "A5XK", "=x", "ID SERIAL=3", "ID_MODEL=", "a=b,,c"])
def test_what_is_no_match_is_refused(text: str) -> None:
    if text == "a=b,,c":
        assert udev.parse_match(text) == {"a": "b,,c"}
        return
    with pytest.raises(UsageError, match="not KEY=VALUE"):
        udev.parse_match(text)


KEYS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789", min_size=1)
VALUES = st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_matches_survive_being_written(properties: dict[str, str]) -> None:
    assert udev.parse_match(udev.format_match(properties)[5:]) == properties
