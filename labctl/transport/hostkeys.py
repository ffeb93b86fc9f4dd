"""Host keys: which are known, what to do with an unknown one, and never a silent yes.

Sources: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; RFC 4255 for fingerprints is not used, OpenSSH's
SHA256 form is (ssh-keygen(1), -l).
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import paramiko

from labctl.errors import UnreachableError
from labctl.transport.known_hosts import keys_for, parse_key

# host name as known_hosts spells it, key type, fingerprint -> accept?
Decide = Callable[[str, str, str], bool]


class HostKeyError(UnreachableError):
    """The host key is unknown and was not accepted, or it is not the one we know."""


def fingerprint(key: paramiko.PKey) -> str:
    """Return the fingerprint of ``key`` as ``ssh-keygen -l`` shows it: ``SHA256:...``."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def known_hosts_name(address: str, port: int) -> str:
    """Return ``address`` as known_hosts names it: ``[address]:port`` unless the port is 22."""
    return address if port == 22 else f"[{address}]:{port}"


class HostKeyPolicy(paramiko.MissingHostKeyPolicy):
    """Decides about the key of one host.

    Args:
        thing: The machine's name, for messages.
        name: Its name in known_hosts (`known_hosts_name`, or HostKeyAlias).
        pinned: Public keys that alone are right; known_hosts is then not read.
        files: known_hosts files, the best source first.
        remember: The user's file, to which a key that is accepted is added; None for none.
        decide: Asked about an unknown key.
    """

    _write_lock = threading.Lock()

    def __init__(
        self,
        thing: str,
        name: str,
        *,
        pinned: Sequence[str],
        files: Sequence[Path],
        remember: Path | None,
        decide: Decide,
    ) -> None:
        self.thing = thing
        self.name = name
        self.files = list(files)
        self.remember = remember
        self.decide = decide
        self.pinned = [parse_key(line) for line in pinned]

    def known(self) -> list[paramiko.PKey]:
        """Return the keys that are right for this host, best source first."""
        if self.pinned:
            return self.pinned
        return list(keys_for(self.name, self.files).good)

    def install(self, client: paramiko.SSHClient, connect_name: str) -> None:
        """Make ``client`` accept only the known keys under the name it connects to.

        The client then also prefers the types of key that we know, as ssh does.
        """
        client.set_missing_host_key_policy(self)
        for key in self.known():
            client.get_host_keys().add(connect_name, key.get_name(), key)

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Called by paramiko where no key of this host is known."""
        mark = fingerprint(key)
        if key in keys_for(self.name, self.files).revoked:
            raise HostKeyError(
                f"its host key has been revoked: {key.get_name()} {mark}",
                thing=self.thing,
                action="give the machine a new host key; somebody else may have this one",
            )
        if not self.decide(self.name, key.get_name(), mark):
            raise HostKeyError(
                f"its host key is not known: {key.get_name()} {mark}",
                thing=self.thing,
                action="compare it with 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' on "
                "the machine, then rerun with --accept-new",
            )
        if self.remember is not None:
            self._append(self.remember, key)

    def changed(self, error: paramiko.BadHostKeyException) -> HostKeyError:
        """Return the error for a host that shows another key than the one we know."""
        where = "pinned in the inventory" if self.pinned else "in known_hosts"
        return HostKeyError(
            f"its host key has changed: now {error.key.get_name()} {fingerprint(error.key)}, "
            f"known ({where}) {error.expected_key.get_name()} {fingerprint(error.expected_key)}",
            thing=self.thing,
            action="if the machine was installed anew, remove the old key with "
            f"\"ssh-keygen -R '{self.name}'\"; otherwise somebody may be in between",
        )

    def _append(self, path: Path, key: paramiko.PKey) -> None:
        line = f"{self.name} {key.get_name()} {key.get_base64()}\n"
        with self._write_lock:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                size = stream.seek(0, os.SEEK_END)
                if size:
                    stream.seek(size - 1)
                    if stream.read(1) != b"\n":
                        line = "\n" + line
                stream.write(line.encode())
