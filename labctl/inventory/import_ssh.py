"""An OpenSSH client configuration as an inventory.

Each concrete name on a Host line becomes a host with what ssh would use for it, so wildcard
blocks reach the hosts they match. Commands of ``Match exec`` are not run.
"""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from labctl.inventory.draft import Draft
from labctl.inventory.ssh_config import Options, SshConfig
from labctl.inventory.ssh_match import expand, expansions

# Carried over.
_KEPT = {"hostname", "user", "port", "identityfile", "proxyjump", "host", "match", "include"}


def draft_from_ssh(path: Path) -> Draft:
    """Return the hosts of the configuration ``path``.

    Args:
        path: The file; relative Includes start from its folder.

    Raises:
        UsageError: The file or an included one cannot be parsed.
    """
    draft = Draft()
    config = SshConfig(path, system_file=None, user_dir=path.absolute().parent, run_exec=False)
    user = getpass.getuser()
    dropped: dict[str, list[str]] = {}
    for _, patterns in config.host_patterns():
        here: dict[tuple[object, ...], str] = {}
        for name in patterns:
            if re.search(r"[*?!]", name) or name in draft.hosts:
                continue
            options = config.lookup([name], user=user)
            if options.get("user") == "git":
                draft.warnings.append(f"{name} is left out: a Git server, not a host to log in to")
                continue
            entry = _entry(name, options, user)
            # "Host gpu1 gpu1.lab.example" with one HostName is one machine under two names.
            target = (entry.get("address", name), entry.get("port"), entry.get("user"))
            if target in here:
                draft.warnings.append(f"{name} is left out: another name of {here[target]}")
                continue
            here[target] = name
            draft.hosts[name] = entry
            for keyword in (*options.values, *options.lists):
                if keyword not in _KEPT:
                    dropped.setdefault(keyword, []).append(name)
    for line in config.lines():
        if line.keyword == "match" and re.search(r"\bexec\b", line.rest, re.IGNORECASE):
            draft.warnings.append(
                f"{line.path}:{line.number}: a 'Match exec' block is left out: commands of a file "
                "are not run when it is imported"
            )
    for keyword, names in dropped.items():
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        draft.warnings.append(
            f"{keyword} of {shown} has no place in an inventory; it still applies where "
            "~/.ssh/config says it"
        )
    return draft


def _entry(name: str, options: Options, local_user: str) -> dict[str, object]:
    hostname = expand(options.get("hostname") or name, {"h": name, "%": "%"})
    port = options.get("port")
    user = options.get("user")
    tokens = expansions(
        host=hostname,
        original=name,
        port=port or "22",
        user=user or local_user,
        local_user=local_user,
    )
    files = [expand(one, tokens) for one in options.lists.get("identityfile", ())]
    entry: dict[str, object] = {}
    if hostname != name:
        entry["address"] = hostname
    if port:
        entry["port"] = int(port) if port.isdecimal() and len(port) <= 5 else port
    if user:
        entry["user"] = user
    if files:
        entry["identity_files"] = [one for one in files if one.lower() != "none"]
    jump = options.get("proxyjump")
    if jump:
        entry["proxy_jump"] = expand(jump, tokens)
    return entry
