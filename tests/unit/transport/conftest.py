"""Fixtures of the transport tests: real OpenSSH servers on loopback, with keys of their own."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd_server import SSHD, Server, free_port, make_key


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder of the test's own, so that nothing of the person's is read."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    for name in ("LABCTL_INVENTORY", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="module")
def host_key_pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the host keys of the servers, one of each kind."""
    folder = tmp_path_factory.mktemp("hostkeys")
    return {kind: make_key(folder / kind, kind) for kind in ("ed25519", "rsa", "ecdsa")}


@pytest.fixture
def serve(tmp_path: Path, host_key_pairs: dict[str, Path]) -> Iterator[Callable[..., Server]]:
    """Return a function that starts an sshd; they all end with the test."""
    if not Path(SSHD).is_file():
        pytest.skip("openssh-server is not installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root insists on it
    started: list[Server] = []

    def start(
        *, keys: dict[str, Path] | None = None, port: int | None = None, extra: str = ""
    ) -> Server:
        keys = host_key_pairs if keys is None else keys
        number = len(started)
        folder = tmp_path / f"sshd{number}"
        folder.mkdir()
        port = port or free_port()
        (folder / "authorized_keys").touch(mode=0o600)
        lines = [
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {path}" for path in keys.values()),
            f"AuthorizedKeysFile {folder}/authorized_keys",
            f"PidFile {folder}/pid",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 100",
            extra,
        ]
        (folder / "config").write_text("\n".join(lines) + "\n")
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        server = Server(folder, port, process, keys)
        started.append(server)
        end = time.monotonic() + 20
        while b"Server listening" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.01)
        return server

    yield start
    for server in started:
        server.process.terminate()
        server.process.wait(20)


@pytest.fixture
def my_key(tmp_path: Path) -> Path:
    """Return a private key without passphrase."""
    return make_key(tmp_path / "my_key")
