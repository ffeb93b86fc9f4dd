"""Plugs over HTTP with passwords, and plugs that are slow, wrong or hostile."""

import base64
import hashlib
import http.server
import json
import re
import secrets
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.power import httpauth, shelly, tasmota, web
from labctl.boards.power.httpauth import authorization
from labctl.boards.power.switch import Power
from labctl.errors import LabctlError, UnreachableError

PASSWORD = 'cor"rect, horse'
NONCE = "60dc2c"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class LockedPlug(http.server.BaseHTTPRequestHandler):
    """Shelly of both generations and Tasmota, with a password, by their documentation."""

    on = False
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        plug = type(self)
        plug.requests.append(self.path)
        path, _, query = self.path.partition("?")
        words = dict(urllib.parse.parse_qsl(query))
        if path.startswith("/rpc/"):
            if not self.digest_is_right():
                realm = f'Digest qop="auth", realm="shellyplug-1", nonce="{NONCE}", '
                return self.answer(401, "", [realm + "algorithm=SHA-256"])
            if path == "/rpc/Switch.Set":
                plug.on = words["on"] == "true"
            return self.answer(200, {"output": plug.on})
        if path.startswith("/relay/"):
            right = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {right}":
                return self.answer(401, "401 Unauthorized", ['Basic realm="shelly1"'])
            plug.on = words.get("turn", "on" if plug.on else "off") == "on"
            return self.answer(200, {"ison": plug.on})
        if words.get("user") != "admin" or words.get("password") != PASSWORD:
            need = "Need user=<username>&password=<password>"
            return self.answer(200, {"WARNING": need})
        word = words["cmnd"].partition(" ")[2]
        plug.on = word == "On" if word else plug.on
        return self.answer(200, {"POWER2": "ON" if plug.on else "OFF"})

    def digest_is_right(self) -> bool:
        said = dict(re.findall(r'(\w+)="?([^",]+)', self.headers.get("Authorization", "")))
        first = sha256(f"admin:shellyplug-1:{PASSWORD}")
        parts = (first, NONCE, said.get("nc"), said.get("cnonce"), "auth",
                 sha256(f"GET:{self.path}"))  # fmt: skip
        return said.get("uri") == self.path and said.get("response") == sha256(
            ":".join(map(str, parts))
        )

    def answer(self, status: int, body: object, challenges: list[str] | None = None) -> None:
        self.send_response(status)
        for one in challenges or []:
            self.send_header("WWW-Authenticate", one)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def locked() -> Iterator[str]:
    LockedPlug.on, LockedPlug.requests = False, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LockedPlug)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return str(tmp_path / "password")


KINDS = pytest.mark.parametrize(
    "config",
    [
        {"kind": "shelly", "switch": 1},
        {"kind": "shelly", "generation": 1},
        {"kind": "tasmota", "relay": 2},
    ],
    ids=["shelly2", "shelly1", "tasmota"],
)


@KINDS
def test_password(config: dict[str, object], locked: str, password_file: str) -> None:
    one = Power("uno", {**config, "host": locked, "password_file": password_file, "off_s": 0})
    one.on()
    assert LockedPlug.on
    assert one.get() is True
    one.off()
    assert not LockedPlug.on


@KINDS
def test_no_password(config: dict[str, object], locked: str) -> None:
    with pytest.raises(LabctlError, match=r"does not let us in.*'password_file'"):
        Power("uno", {**config, "host": locked}).on()
    assert not LockedPlug.on


@KINDS
def test_wrong_password(config: dict[str, object], locked: str, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("hunter2")
    with pytest.raises(LabctlError, match=r"does not let us in") as caught:
        Power("uno", {**config, "host": locked, "password_file": str(tmp_path / "wrong")}).on()
    assert "hunter2" not in str(caught.value)
    # One answer to a challenge: a plug may lock us out.
    assert len(LockedPlug.requests) <= 2


def test_password_is_not_sent_unasked(locked: str, password_file: str) -> None:
    config = {"host": locked, "password_file": password_file}
    assert shelly.get(config, deadline_s=10) is False
    assert len(LockedPlug.requests) == 2


# RFC 7616, section 3.9.1.
@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ],
)
def test_digest_of_the_standard(
    algorithm: str, response: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr(httpauth.secrets, "token_hex", lambda size: own)
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm='
        f"{algorithm}, "
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    said = authorization([challenge], "GET", "/dir/index.html", "Mufasa", "Circle of Life")
    assert said is not None
    assert f'response="{response}"' in said
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in said


def test_strongest_challenge_is_answered() -> None:
    weak = 'Digest realm="r", qop="auth", nonce="1", algorithm=MD5'
    strong = 'Digest realm="r", qop="auth", nonce="2", algorithm=SHA-256'
    said = authorization(['Basic realm="r"', weak, strong], "GET", "/", "u", "p")
    assert said is not None
    assert "algorithm=SHA-256" in said
    assert authorization(['Basic realm="r"'], "GET", "/", "u", "p") == "Basic dTpw"
    assert authorization(["Negotiate"], "GET", "/", "u", "p") is None


@given(st.lists(st.text(max_size=40), max_size=3), st.text(max_size=10))
def test_any_challenge(challenges: list[str], password: str) -> None:
    said = authorization(challenges, "GET", "/", "admin", password)
    assert said is None or said.startswith(("Basic ", "Digest "))


Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """Listen on the loopback interface and let ``serve`` have each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        end = threading.Event()

        def loop() -> None:
            while not end.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    try:
                        serve(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            end.set()
            thread.join()


def drip(text: bytes) -> Serve:
    """Return a server that sends ``text`` again and again, a byte at a time."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            for byte in text:
                connection.send(bytes([byte]))
                threading.Event().wait(0.02)

    return serve


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    "serve", [silent, drip(b"X: y\r\n"), drip(b"\r\n{")], ids=["silent", "headers", "body"]
)
@pytest.mark.parametrize("kind", [shelly, tasmota])
def test_plug_that_never_ends(kind: object, serve: Serve) -> None:
    get = kind.get  # type: ignore[attr-defined]
    with server(serve) as host, pytest.raises(UnreachableError) as caught:
        get({"host": host}, deadline_s=0.4)
    assert "does not answer" in str(caught.value)
    assert "in time" in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"", "does not answer: Remote end closed connection without response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer: "),
        (b"HTTP/1.1 302 Found\r\nLocation: http://example.invalid/\r\n\r\n", "answered 302 Found"),
        (b"HTTP/1.1 500 \x1b[31mBad\r\n\r\n", "answered 500 Bad"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nNo handler", "answered 404 Not Found: No handler"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>\x1b]0;title\x07", "answered no JSON object: <html>"),
        (b"HTTP/1.1 200 OK\r\n\r\n[true]", r"answered no JSON object: \[true\]"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"output": "yes"}', "the plug does not say whether it is on"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000, "answered no JSON object"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not let us in"),
    ],
)
def test_wrong_answers(raw: bytes, cause: str) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(raw)

    with server(serve) as host, pytest.raises(LabctlError, match=cause) as caught:
        shelly.get({"host": host}, deadline_s=5)
    assert str(caught.value).isprintable()


def test_nobody_there() -> None:
    with pytest.raises(UnreachableError, match=r"does not answer: .*refused"):
        tasmota.get({"host": "127.0.0.1:1"}, deadline_s=5)


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "127.0.0.1:0"])
def test_port_out_of_range(host: str) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        web.ask(host, "/", {}, deadline_s=5)


def test_proxy_of_the_environment_is_not_used(
    locked: str, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    config = {"host": locked, "password_file": password_file, "relay": 2}
    assert tasmota.get(config, deadline_s=10) is False


def test_random_number_is_new_each_time() -> None:
    challenge = 'Digest realm="r", qop="auth", nonce="2", algorithm=SHA-256'
    assert len({authorization([challenge], "GET", "/", "u", "p") for _ in range(3)}) == 3
    assert httpauth.secrets is secrets
