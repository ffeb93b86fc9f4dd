"""Fresh secrets for a box: SSH host keys, root's password, machine id.

Sources: ssh-keygen(1), openssl-passwd(1), crypt(5), machine-id(5).
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labctl.errors import LabctlError

# The kinds that Debian's openssh-server makes at installation; -b as ssh-keygen's own default.
BOX_KEY_TYPES = ("ed25519", "ecdsa", "rsa")
_DEADLINE_S = 60.0


def make_host_keys(name: str, types: Sequence[str] = BOX_KEY_TYPES) -> dict[str, bytes]:
    """Return new host keys as file name -> content, private and public.

    Args:
        name: Host name, for the comment of the keys.
        types: Kinds of keys, as in ``ssh-keygen -t``.

    Raises:
        LabctlError: ssh-keygen failed.
    """
    with tempfile.TemporaryDirectory(prefix="labctl-keys-") as folder:

        def make(kind: str) -> None:
            path = Path(folder) / f"ssh_host_{kind}_key"
            command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{name}", "-f", path]
            _run([str(word) for word in command])

        with ThreadPoolExecutor(len(types)) as pool:
            list(pool.map(make, types))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def public_keys(host_keys: dict[str, bytes]) -> tuple[str, ...]:
    """Return the public keys among ``host_keys`` as ``type base64``, ed25519 first."""
    found = [
        " ".join(data.decode().split()[:2])
        for name, data in host_keys.items()
        if name.endswith(".pub")
    ]
    return tuple(sorted(found, key=lambda key: (not key.startswith("ssh-ed25519"), key)))


def make_password() -> str:
    """Return a random password of 96 bits that is easy to type."""
    return secrets.token_hex(12)


def hash_password(password: str) -> str:
    """Return the crypt(5) hash (SHA-512) of ``password``; it travels on standard input.

    Raises:
        LabctlError: openssl failed.
    """
    return _run(["openssl", "passwd", "-6", "-stdin"], stdin=password + "\n").strip()


def make_machine_id() -> str:
    """Return a random machine id."""
    return secrets.token_hex(16)


def make_identity(path: Path, comment: str) -> str:
    """Return the public key of the pair at ``path``, making the pair where it is missing.

    Raises:
        LabctlError: ssh-keygen failed.
    """
    if not path.exists():
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return _run(["ssh-keygen", "-y", "-f", str(path)]).strip()


def _run(command: list[str], stdin: str = "") -> str:
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabctlError("did not end in time", thing=command[0]) from error
    if done.returncode != 0:
        raise LabctlError(done.stderr.strip() or f"exit {done.returncode}", thing=command[0])
    return done.stdout
