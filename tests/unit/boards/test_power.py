"""Power back ends, those over HTTP against a real server that answers as the plugs do."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.boards.power.switch import Power, kinds
from labctl.errors import LabctlError, UnreachableError, UsageError


class Plug(http.server.BaseHTTPRequestHandler):
    """Shelly Gen1 and Gen2, and Tasmota, as their documentation has them."""

    on = False
    broken = ""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        words = {key: one[0] for key, one in urllib.parse.parse_qs(query).items()}
        plug = type(self)
        body: object = {}
        if path == "/rpc/Switch.Set":
            body = {"was_on": plug.on}
            plug.on = words["on"] == "true"
        elif path == "/rpc/Switch.GetStatus":
            body = {"id": int(words["id"]), "output": plug.on}
        elif path == "/relay/0":
            plug.on = words["turn"] == "on" if "turn" in words else plug.on
            body = {"ison": plug.on}
        elif path == "/cm":
            word = words["cmnd"].partition(" ")[2]
            plug.on = word == "On" if word else plug.on
            body = {"POWER": "ON" if plug.on else "OFF"}
        status = 401 if plug.broken == "refuses" else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"<html>" if plug.broken == "nonsense" else json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def plug() -> Iterator[str]:
    Plug.on, Plug.broken = False, ""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plug)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "config",
    [{"kind": "shelly"}, {"kind": "shelly", "generation": 1}, {"kind": "tasmota"}],
    ids=["shelly2", "shelly1", "tasmota"],
)
def test_plugs(plug: str, config: dict[str, object]) -> None:
    power = Power("uno", {**config, "host": plug})
    assert power.get() is False
    power.set(True)
    assert Plug.on
    assert power.get() is True
    power.cycle(off_s=0)
    assert power.get() is True
    power.set(False)
    assert not Plug.on


@pytest.mark.parametrize("trouble", ["refuses", "nonsense"])
@pytest.mark.parametrize("kind", ["shelly", "tasmota"])
def test_a_plug_in_trouble_is_named(plug: str, kind: str, trouble: str) -> None:
    Plug.broken = trouble
    with pytest.raises(LabctlError) as error:
        Power("uno", {"kind": kind, "host": plug}).set(True)
    assert str(error.value).startswith(f"power of uno ({kind}): ")


def test_a_plug_that_is_not_there() -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        Power("uno", {"kind": "shelly", "host": "127.0.0.1:1"}).get()


def test_commands(tmp_path: Path) -> None:
    state = tmp_path / "on"
    power = Power(
        "uno",
        {"kind": "command", "on": f"touch {state}", "off": f"rm {state}",
         "status": f"test -e {state}"},
    )  # fmt: skip
    power.set(True)
    assert state.exists()
    assert power.get() is True
    power.set(False)
    assert power.get() is False
    with pytest.raises(LabctlError, match=r"'off' ended with 1: .*No such file"):
        power.set(False)


def test_a_switch_that_does_not_switch_is_found_out() -> None:
    power = Power("uno", {"kind": "command", "on": "true", "off": "true", "status": "false"})
    with pytest.raises(LabctlError, match="switched on and is still off"):
        power.set(True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "shely", "host": "x"}, "did you mean 'shelly'"),
        ({"kind": "shelly"}, "'host' is missing"),
        ({"kind": "shelly", "host": "x", "prot": 1}, "unknown key 'prot'"),
        ({"kind": "uhubctl", "location": "1-1", "port": "2"}, "'port' must be a whole number"),
        ({}, "'kind' is missing"),
    ],
)
def test_mistakes_are_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Power("uno", config)


def test_the_built_in_kinds_come_through_the_door() -> None:
    assert {"vm", "command", "uhubctl", "shelly", "tasmota"} <= set(kinds())
