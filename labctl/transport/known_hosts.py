"""Files of known host keys, read as ssh reads them: patterns, hashed names, revoked keys.

Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". A line that makes no sense is passed over, as ssh
does: it must not keep us from all machines. ``@cert-authority`` lines are passed over too, for
host certificates are not supported.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType


@lru_cache(maxsize=4096)
def parse_key(line: str) -> paramiko.PKey:
    """Return the public key in ``line`` (``type base64 [comment]``).

    Raises:
        ValueError: It is not a public key.
    """
    try:
        kind, blob = line.split()[:2]
        return paramiko.PKey.from_type_string(kind, base64.b64decode(blob, validate=True))
    except (paramiko.SSHException, UnknownKeyType, ValueError, IndexError) as error:
        raise ValueError(f"not a public key: {line[:40]!r}") from error


@dataclass(frozen=True)
class KnownKey:
    """One line: names, a key not parsed yet, and whether it says that the key is revoked."""

    names: str
    key: str
    revoked: bool = False

    def is_for(self, name: str) -> bool:
        """Tell whether the line is about the host called ``name``."""
        if self.names.startswith("|"):
            return _hash_matches(self.names, name)
        matched = False
        for pattern in self.names.split(","):
            if _expression(pattern.removeprefix("!").lower()).fullmatch(name.lower()):
                if pattern.startswith("!"):
                    return False
                matched = True
        return matched


@dataclass(frozen=True)
class KnownKeys:
    """What files say of one host: keys that are right, keys that never are."""

    good: tuple[paramiko.PKey, ...]
    revoked: tuple[paramiko.PKey, ...]


def keys_for(name: str, files: list[Path]) -> KnownKeys:
    """Return what ``files`` say of the host called ``name``, in the order of the files."""
    good: list[paramiko.PKey] = []
    revoked: list[paramiko.PKey] = []
    for path in files:
        for line in _read(path):
            if not line.is_for(name):
                continue
            try:
                key = parse_key(line.key)
            except ValueError:
                continue
            (revoked if line.revoked else good).append(key)
    return KnownKeys(tuple(key for key in good if key not in revoked), tuple(revoked))


def _read(path: Path) -> tuple[KnownKey, ...]:
    try:
        status = path.stat()
        return _parse(path, (status.st_mtime_ns, status.st_size))
    except OSError:
        return ()


@lru_cache(maxsize=32)
def _parse(path: Path, stamp: tuple[int, int]) -> tuple[KnownKey, ...]:
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if marker in ("", "@revoked") and len(words) >= 3:
            lines.append(KnownKey(words[0], f"{words[1]} {words[2]}", bool(marker)))
    return tuple(lines)


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


def _hash_matches(field: str, name: str) -> bool:
    """Tell whether ``|1|salt|hash`` is HMAC-SHA1 of ``name``, as ``ssh-keygen -H`` writes it."""
    try:
        _, version, salt, wanted = field.split("|")
        digest = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return version == "1" and hmac.compare_digest(digest, base64.b64decode(wanted))
    except ValueError:
        return False
