"""The key pairs that labctl offers: the user's own, or one that it makes for itself."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from labctl.errors import LabctlError
from labctl.fileio import locked
from labctl.paths import data_dir, make_private


def own_identity() -> Path:
    """Return the path of labctl's own private key, which may not exist yet."""
    return data_dir() / "ssh" / "id_ed25519"


def ensure_own_identity() -> Path:
    """Return labctl's own private key, making the pair if there is none.

    Raises:
        LabctlError: ``ssh-keygen`` is missing or failed.
    """
    path = own_identity()
    folder = make_private(path.parent)
    with locked(folder / ".lock", what="labctl's key pair"):
        if path.is_file() and path.with_suffix(".pub").is_file():
            return path
        fresh = folder / "new"
        for leftover in (fresh, fresh.with_suffix(".pub")):
            leftover.unlink(missing_ok=True)
        comment = f"labctl@{os.uname().nodename}"
        try:
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh)],
                check=True,
                capture_output=True,
                timeout=30,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise LabctlError(
                "ssh-keygen is not installed", action="apt-get install openssh-client"
            ) from None
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise LabctlError(f"ssh-keygen failed: {error}", thing=str(path)) from error
        # The public half first: a private key without its public half would be made again.
        fresh.with_suffix(".pub").replace(path.with_suffix(".pub"))
        fresh.replace(path)
    return path


def public_key(private: Path) -> str | None:
    """Return the line of ``private``'s public half (``PATH.pub``), or None if it is not there."""
    try:
        return private.with_name(private.name + ".pub").read_text().strip()
    except OSError:
        return None


@lru_cache(maxsize=64)
def load_identity(path: Path) -> paramiko.PKey | str:
    """Load a private key once for all connections; return the reason where it cannot be used."""
    try:
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        return f"{path}: no such file"
    except paramiko.PasswordRequiredException:
        return f"{path}: has a passphrase; load it with ssh-add"
    except TypeError:  # cryptography's word for "a password was needed"
        return f"{path}: has a passphrase; load it with ssh-add"
    except (OSError, ValueError, paramiko.SSHException, UnknownKeyType) as error:
        return f"{path}: {error}"
