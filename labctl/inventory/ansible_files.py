"""Read Ansible inventories, INI and YAML, into groups, hosts and variables.

Source: "How to build your inventory" of the Ansible documentation, and the plug-ins
``ansible.builtin.ini`` and ``ansible.builtin.yaml`` (ansible-core 2.19).
"""

from __future__ import annotations

import ast
import re
import shlex
import string
from dataclasses import dataclass, field
from typing import Any

from labctl.inventory.yamlnodes import Mapping, Node, Scalar, Sequence, parse

# Hosts that ranges may expand to in one file.
MAX_HOSTS = 10_000
_RANGE = re.compile(r"\[([0-9]{1,9}|[a-zA-Z]):([0-9]{1,9}|[a-zA-Z])(?::([0-9]{1,9}))?\]")
# YAML 1.1 words, which Ansible reads as booleans.
_BOOLEANS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


@dataclass
class AnsibleGroup:
    """One group: its own hosts, its children and its variables."""

    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)


@dataclass
class AnsibleData:
    """A whole inventory; ``warnings`` say what was passed over while reading."""

    groups: dict[str, AnsibleGroup] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def group(self, name: str) -> AnsibleGroup:
        """Return the group ``name``, new if need be."""
        return self.groups.setdefault(name, AnsibleGroup())

    def add_host(self, group: str, pattern: str, variables: dict[str, Any], where: str) -> None:
        """Add the host or the range of hosts ``pattern`` to ``group``."""
        port = re.fullmatch(r"([^:\[\]]+|.*\]|\[[0-9a-fA-F:.]+\]):(\d{1,5})", pattern)
        if port:
            pattern, variables = port[1], {"ansible_port": int(port[2]), **variables}
        names = expand_ranges(pattern, MAX_HOSTS - len(self.hosts))
        if names is None:
            self.warnings.append(f"{where}: the range {pattern} is left out: not valid or too long")
            return
        for name in names:
            self.hosts.setdefault(name, {}).update(variables)
            self.group(group).hosts[name] = None


def expand_ranges(pattern: str, limit: int) -> list[str] | None:
    """Return the names of ``web[01:10]``, ``db-[a:f]``, ``x[1:9:2]``; None if not valid.

    Args:
        pattern: A name with any number of ranges; both ends belong to a range.
        limit: Most names to return.
    """
    done, todo = [""], pattern
    while match := _RANGE.search(todo):
        words = _range(match[1], match[2], int(match[3] or 1), limit)
        head = todo[: match.start()]
        if not words or len(words) * len(done) > limit:
            return None
        done = [begin + head + word for begin in done for word in words]
        todo = todo[match.end() :]
    names = [begin + todo for begin in done]
    return names if len(names) <= limit and "[" not in "".join(names) else None


def _range(first: str, last: str, step: int, limit: int) -> list[str]:
    if step < 1:
        return []
    if first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        # Ansible: a leading zero asks for numbers of the same width on both ends.
        if (width and len(last) != width) or (int(last) - int(first)) // step >= limit:
            return []
        return [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
    letters = string.ascii_letters
    if first not in letters or last not in letters:
        return []
    return list(letters[letters.index(first) : letters.index(last) + 1 : step])


def read_yaml(text: str) -> AnsibleData | None:
    """Return the inventory in ``text``, or None where it is not a YAML mapping."""
    root, mistakes = parse(text)
    if not isinstance(root, Mapping):
        return None
    data = AnsibleData()
    data.warnings += [f"line {one.line}: {one.message}" for one in mistakes]
    for name, (_, node) in root.entries.items():
        _yaml_group(data, name, node)
    return data


def _yaml_group(data: AnsibleData, name: str, node: Node) -> None:
    group = data.group(name)
    if not isinstance(node, Mapping):
        return
    for key, (where, value) in node.entries.items():
        entries = value.entries if isinstance(value, Mapping) else {}
        if key == "hosts":
            for host, (position, variables) in entries.items():
                own = variables if isinstance(variables, Mapping) else Mapping(1, 1)
                data.add_host(name, host, _plain(own), f"line {position.line}")
        elif key == "children":
            for child, (_, below) in entries.items():
                group.children[child] = None
                _yaml_group(data, child, below)
        elif key == "vars":
            group.vars.update(_plain(value) if isinstance(value, Mapping) else {})
        else:
            data.warnings.append(f"line {where.line}: '{key}' of the group {name} is left out")


def _plain(node: Node) -> Any:  # noqa: ANN401 - a YAML value has any type
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    if isinstance(node, Scalar) and node.plain and node.text.lower() in _BOOLEANS:
        return _BOOLEANS[node.text.lower()]
    return node.value()


def read_ini(text: str) -> AnsibleData:
    """Return the inventory in ``text``; lines that cannot be understood become warnings."""
    data = AnsibleData()
    section, kind = "ungrouped", "hosts"
    for number, row in enumerate(text.split("\n"), 1):
        line = row.strip()
        if not line or line[0] in "#;":
            continue
        header = re.fullmatch(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?", line)
        if header:
            section, kind = header[1], header[2] or "hosts"
            data.group(section)
            if kind not in ("hosts", "children", "vars"):
                data.warnings.append(f"line {number}: the section {line} is left out")
            continue
        try:
            _ini_line(data, section, kind, line, f"line {number}")
        except ValueError:
            # Not quoted: the line may hold a password.
            data.warnings.append(f"line {number} is left out: it cannot be understood")
    return data


def _ini_line(data: AnsibleData, section: str, kind: str, line: str, where: str) -> None:
    if kind == "vars":
        key, equals, value = line.partition("=")
        if not equals:
            raise ValueError(line)
        data.group(section).vars[key.strip()] = literal(value.strip())
        return
    words = shlex.split(line, comments=True)
    if not words:
        return
    if kind == "children":
        data.group(section).children[words[0]] = None
        data.group(words[0])
    elif kind == "hosts":
        pairs = [word.partition("=") for word in words[1:]]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError(line)
        variables = {key: literal(value) for key, _, value in pairs}
        data.add_host(section, words[0], variables, where)


def literal(text: str) -> Any:  # noqa: ANN401 - as Ansible, any Python literal
    """Return the Python literal that ``text`` is, as Ansible does, or ``text`` itself."""
    if len(text) > 1000:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value if _is_plain(value) else text


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
