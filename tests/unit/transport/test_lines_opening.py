"""URLs and settings of lines: what is taken, what is refused, which are the same."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UnreachableError, UsageError
from labctl.transport.lines.opening import canonical, host_and_port, open_line, split
from labctl.transport.lines.settings import LineSettings


def test_settings_are_as_people_write_them() -> None:
    assert LineSettings().describe() == "115200 8N1"
    odd = LineSettings(baud=9600, data_bits=7, parity="even", stop_bits=2, flow="rtscts")
    assert odd.describe() == "9600 7E2 rtscts"
    assert LineSettings(data_bits=5, parity="odd", stop_bits=1.5).describe() == "115200 5O1.5"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("baud", 0),
        ("baud", -9600),
        ("baud", "115200"),
        ("baud", True),
        ("baud", 2**32),
        ("data_bits", 9),
        ("parity", "mark"),
        ("stop_bits", 3),
        ("stop_bits", True),
        ("flow", "dsrdtr"),
        ("dtr", 1),
        ("rts", "on"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        LineSettings(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{field}: {value!r}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "a line is a path or a URL"),
        ("ttyUSB0", "use the full path, /dev/ttyUSB0"),
        ("serial", "known: /dev/NAME, udev:"),
        ("com:3", "no such kind of line: 'com'"),
        ("udev:", "nothing follows 'udev:'"),
        ("exec: ", "nothing follows 'exec:'"),
        ("udev:A5XK", "not KEY=VALUE"),
        ("socket://host", "write socket://HOST:PORT"),
        ("socket:host:23", "write socket://HOST:PORT"),
        ("socket://host:0", "write socket://HOST:PORT"),
        ("rfc2217://host:65536", "write rfc2217://HOST:PORT"),
        ("socket://:23", "write socket://HOST:PORT"),
        ("ssh:box", "write ssh:HOST:/dev/NAME"),
        ("ssh:box:ttyUSB0", "write ssh:HOST:/dev/NAME"),
        ("/dev/\0", "a line is a path or a URL"),
    ],
)
def test_what_is_no_line_says_how_to_write_one(url: str, said: str) -> None:
    for use in (lambda: open_line(url, LineSettings()), lambda: canonical(url)):
        with pytest.raises(UsageError) as caught:
            use()
        assert said in str(caught.value)
        assert "\0" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_line_or_a_usage_error(text: str) -> None:
    try:
        scheme, rest = split(text)
    except UsageError:
        return
    assert rest
    assert scheme in ("tty", "udev", "socket", "rfc2217", "unix", "exec", "ssh")


def test_hosts_and_ports() -> None:
    assert host_and_port("socket://Console.LAN.:2001") == ("console.lan", 2001)
    assert host_and_port("rfc2217://[::1]:23/") == ("::1", 23)


def test_names_of_one_line_are_the_same(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    link = tmp_path / "by-id"
    link.symlink_to(port)
    assert canonical(str(link)) == canonical(str(port)) == str(port.resolve())
    assert canonical(f"unix:{link}") == canonical(f"unix:{port}")
    same = {
        canonical(url)
        for url in (
            "socket://localhost:2001",
            "SOCKET://LOCALHOST:2001/",
            "rfc2217://127.0.0.1:2001",
        )
    }
    assert same == {"tcp:127.0.0.1:2001"}
    assert canonical("exec: cat ") == canonical("exec:cat")
    assert canonical("ssh:box:/dev/ttyUSB0") != canonical("ssh:bay:/dev/ttyUSB0")


def test_a_port_that_is_not_there_still_has_an_identity() -> None:
    one = canonical("udev:ID_SERIAL_SHORT=no-such,ID_MODEL=x")
    assert one == canonical("udev:ID_MODEL=x,ID_SERIAL_SHORT=no-such")


def test_a_udev_name_without_its_port_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="no serial port matches"):
        open_line("udev:ID_SERIAL_SHORT=no-such", LineSettings())
