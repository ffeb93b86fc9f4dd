"""An Ansible inventory as one of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.inventory.ansible_files import AnsibleData, read_ini, read_yaml
from labctl.inventory.diagnostics import shown_path
from labctl.inventory.draft import Draft
from labctl.inventory.secrets import is_secret_key

# Ansible's variable -> our key. Source: "Connecting to hosts: behavioral inventory parameters".
_KEYS = {
    "ansible_host": "address",
    "ansible_ssh_host": "address",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "identity_files",
    "ansible_private_key_file": "identity_files",
    "ansible_become": "sudo",
}
_SSH_ARGUMENTS = {"ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"}
# Without meaning for labctl, which needs no Python on the target; not worth a warning.
_SILENT = {"ansible_python_interpreter", "ansible_connection", "ansible_become_user"}
_SILENT |= {"ansible_become_method"}
_JUMP = re.compile(r"(?:-J\s*|-o\s*[\"']?ProxyJump[= ])([^\s\"']+)", re.IGNORECASE)
_TRUE = {"true", "yes", "on", "1", "y", "t"}
_VAULT = "$ANSIBLE_VAULT"
# Groups that every Ansible inventory has.
_ALL, _UNGROUPED = "all", "ungrouped"
_MAX_DEPTH = 40


def draft_from_ansible(text: str, path: Path) -> Draft:
    """Return the hosts and groups of an Ansible inventory.

    Args:
        text: Its content, INI or YAML.
        path: The file; its suffix tells YAML from INI where both are possible.

    Raises:
        UsageError: It is neither.
    """
    yaml_like = path.suffix in (".yml", ".yaml") or bool(re.search(r"^all:\s*$", text, re.M))
    data = read_yaml(text) if yaml_like else read_ini(text)
    if data is None or not data.hosts:
        raise UsageError(
            "no hosts found in it as an Ansible inventory",
            thing=shown_path(path),
            action="say --from ssh if it is an ssh configuration",
        )
    draft = Draft(warnings=list(data.warnings))
    for folder in ("group_vars", "host_vars"):
        if (path.parent / folder).is_dir():
            draft.warnings.append(f"the folder {folder} is not read; copy what matters into 'vars'")
    parents: dict[str, list[str]] = {}
    for name, group in data.groups.items():
        for child in group.children:
            parents.setdefault(child, []).append(name)
    for name, group in data.groups.items():
        if name == _ALL:
            draft.defaults = _settings(group.vars, "all", draft, shared=True)
        elif name != _UNGROUPED:
            above = [parent for parent in parents.get(name, ()) if parent != _ALL]
            draft.groups[name] = {
                **({"parents": above} if above else {}),
                **_settings(group.vars, f"the group {name}", draft, shared=True),
            }
    _hosts(data, draft)
    return draft


def _hosts(data: AnsibleData, draft: Draft) -> None:
    member_of: dict[str, list[str]] = {}
    # Ansible merges groups by depth, then by name, and the last one wins; with us the first does.
    depth = _depths(data)
    for name in sorted(data.groups, key=lambda one: (depth[one], one), reverse=True):
        if name not in (_ALL, _UNGROUPED):
            for host in data.groups[name].hosts:
                member_of.setdefault(host, []).append(name)
    for name, variables in data.hosts.items():
        if variables.get("ansible_connection") == "local":
            draft.warnings.append(f"{name} is left out: for this machine say 'local' to labctl")
            continue
        entry = _settings(variables, name, draft)
        if name in member_of:
            entry["groups"] = member_of[name]
        draft.hosts[name] = entry


def _depths(data: AnsibleData) -> dict[str, int]:
    """Return how far each group is below the top; bounded, so that a cycle ends."""
    depth = dict.fromkeys(data.groups, 0)
    for _ in range(_MAX_DEPTH):
        before = dict(depth)
        for name, group in data.groups.items():
            for child in group.children:
                depth[child] = min(max(depth.get(child, 0), depth[name] + 1), _MAX_DEPTH)
        if depth == before:
            break
    return depth


def _settings(
    variables: dict[str, Any], owner: str, draft: Draft, *, shared: bool = False
) -> dict[str, Any]:
    """Translate variables; what has no place with us becomes a warning."""
    entry: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in variables.items():
        why = _why_not(key, value)
        if why:
            draft.warnings.append(f"{key} of {owner} is left out: {why}")
        elif _KEYS.get(key) == "address" and shared:
            draft.warnings.append(f"{key} of {owner} is left out: say it for each host")
        elif key in _KEYS:
            entry[_KEYS[key]] = _translate(_KEYS[key], value)
        elif key in _SSH_ARGUMENTS:
            jump = _JUMP.search(str(value))
            if jump:
                entry["proxy_jump"] = jump[1]
            if not jump or _JUMP.sub("", str(value)).strip(" \"'"):
                draft.warnings.append(
                    f"{key} of {owner}: only a jump host is carried over; put other options "
                    "into ~/.ssh/config"
                )
        elif key in _SILENT:
            continue
        elif key.startswith("ansible_"):
            draft.warnings.append(f"{key} of {owner} is left out: it has no meaning for labctl")
        else:
            rest[key] = value
    if rest:
        entry["vars"] = rest
    return entry


def _why_not(key: str, value: object) -> str:
    text = str(value)
    if is_secret_key(key) and not isinstance(value, bool | None):
        return "a secret does not belong into an inventory; labctl asks for passwords"
    if _VAULT in text:
        return "it is encrypted with Ansible Vault"
    if "{{" in text or "{%" in text:
        return "it is a template; write its value"
    if key == "ansible_become_method" and text != "sudo":
        return f"labctl becomes root through sudo, not {text[:20]}"
    return ""


def _translate(key: str, value: object) -> object:
    if key == "identity_files":
        return [str(value)]
    if key == "sudo":
        return str(value).lower() in _TRUE
    if key == "port" and str(value).isdecimal() and len(str(value)) <= 5:
        return int(str(value))
    if key == "address":
        return str(value).removeprefix("[").removesuffix("]")
    return str(value) if key == "user" else value
