"""What the control machine contributes: who its user is, and the public key that lets them in."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from pathlib import Path

from labctl.inventory.resolve import ResolvedHost
from labctl.transport.keys import ensure_own_identity, public_key


def admin_name() -> str:
    """Return the name for the admin account: the person at this machine, or ``lab`` for root."""
    name = os.environ.get("SUDO_USER") or getpass.getuser()
    return "lab" if name == "root" else name


def control_key(target: ResolvedHost | None) -> str:
    """Return the public key that labctl will come back with.

    That is the first key that ssh would offer to the machine. Where there is none, and for
    throw-away virtual machines, it is labctl's own key, made now if need be.
    """
    if target is not None and not target.virtual:
        for name in target.identity_files:
            line = public_key(Path(name))
            if line:
                return line
    return public_key(ensure_own_identity()) or ""


def context(name: str, target: ResolvedHost | None) -> Mapping[str, object]:
    """Return what profiles may refer to besides their variables.

    Args:
        name: Name of the machine in the inventory.
        target: How it is reached; None for this machine itself.
    """
    return {
        "host": {"name": name.lower() if target else os.uname().nodename},
        "login": {"user": target.user if target else getpass.getuser()},
        "control": {
            "admin": admin_name(),
            "public_key": control_key(target),
            "remote": target is not None,
        },
    }
