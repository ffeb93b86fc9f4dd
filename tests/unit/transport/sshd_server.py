"""A real OpenSSH server of a test's own, and keys for it."""

import getpass
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from labctl.inventory.resolve import ResolvedHost


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair and return the path of the private half."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    if kind == "rsa":
        command += ["-b", "2048"]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return path


def public(path: Path) -> str:
    """Return ``type base64`` of the key pair at ``path``."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@dataclass
class Server:
    """An sshd of the test's own, which lets the present user in by key."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"
    host_keys: dict[str, Path] = field(default_factory=dict)

    @property
    def authorized(self) -> Path:
        """The file of keys that it lets in."""
        return self.folder / "authorized_keys"

    def let_in(self, key: Path) -> None:
        """Let the owner of ``key`` in."""
        with self.authorized.open("a") as stream:
            stream.write(public(key) + "\n")

    def target(self, **more: object) -> ResolvedHost:
        """Return how it is reached; its ed25519 key is pinned unless ``more`` says otherwise."""
        fields: dict[str, object] = {
            "name": "box",
            "hostname": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "host_keys": (public(self.host_keys["ed25519"]),),
        }
        return ResolvedHost(**{**fields, **more})  # type: ignore[arg-type]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
