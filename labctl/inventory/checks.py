"""Mistakes between entries: dangling references, cycles, names used twice.

These checks read the raw tree, not the validated models, so that a file with a mistake in its
form still gets all of its other mistakes named in the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from labctl.inventory.diagnostics import Diagnostic, did_you_mean, quote
from labctl.inventory.virtual import FLEET
from labctl.inventory.yamlnodes import Mapping, Node, Scalar, Sequence

# Words with a meaning of their own on the command line.
RESERVED_HOSTS = {"all": "stands for all hosts", "local": "stands for this machine"}
# A virtual machine gets these from the virtual lab.
_NOT_FOR_VIRTUAL = ("address", "port", "identity_files", "proxy_jump", "host_keys")


def check_references(root: Node) -> list[Diagnostic]:
    """Return the mistakes between the entries of the file."""
    groups, hosts = _section(root, "groups"), _section(root, "hosts")
    boards = _section(root, "boards")
    found: list[Diagnostic] = []
    for refer in (_texts(groups, "parents"), _texts(hosts, "groups")):
        for _, node in refer:
            if node.text not in groups and node.text != FLEET:
                hint = did_you_mean(node.text, groups) or "; declare it below 'groups:'"
                found.append(_at(node, f"there is no group {quote(node.text)}{hint}"))
    for _, entry in boards.values():
        host = _child(entry, "host")
        if isinstance(host, Scalar) and host.text not in hosts:
            hint = did_you_mean(host.text, hosts) or "; declare it below 'hosts:'"
            found.append(_at(host, f"there is no host {quote(host.text)}{hint}"))
    sections = {"host": hosts, "board": boards, "FPGA project": _section(root, "fpga")}
    found.extend(_used_twice(sections))
    for reserved, why in RESERVED_HOSTS.items():
        for entries in (hosts, boards, groups if reserved == "all" else {}):
            if reserved in entries:
                found.append(
                    _at(entries[reserved][0], f"{quote(reserved)} {why}; give it another name")
                )
    for _, entry in hosts.values():
        found.extend(_virtual(entry))
    found.extend(_cycles(groups, lambda entry: _list_texts(entry, "parents"), "the parents of"))
    found.extend(_cycles(hosts, _jumps, "the jump hosts of"))
    return found


_Section = dict[str, tuple[Scalar, Node]]


def _at(node: Node, message: str) -> Diagnostic:
    return Diagnostic(node.line, node.column, message)


def _section(root: Node, name: str) -> _Section:
    node = _child(root, name)
    return node.entries if isinstance(node, Mapping) else {}


def _child(node: Node, name: str) -> Node | None:
    entry = node.entries.get(name) if isinstance(node, Mapping) else None
    return entry[1] if entry else None


def _list_texts(entry: Node, name: str) -> list[Scalar]:
    node = _child(entry, name)
    items = node.items if isinstance(node, Sequence) else []
    return [item for item in items if isinstance(item, Scalar)]


def _texts(section: _Section, name: str) -> Iterator[tuple[str, Scalar]]:
    for owner, (_, entry) in section.items():
        for item in _list_texts(entry, name):
            yield owner, item


def _jumps(entry: Node) -> list[Scalar]:
    node = _child(entry, "proxy_jump")
    if not isinstance(node, Scalar):
        return []
    hops = [hop.strip().rpartition("@")[2].partition(":")[0] for hop in node.text.split(",")]
    return [Scalar(node.line, node.column, text=hop) for hop in hops]


def _used_twice(sections: dict[str, _Section]) -> Iterator[Diagnostic]:
    """Yield a mistake for each name in two sections: a word on a command line means one thing."""
    first: dict[str, tuple[str, int]] = {}
    for kind, section in sections.items():
        for name, (key, _) in section.items():
            if name in first:
                other, line = first[name]
                yield _at(
                    key, f"{quote(name)} is also a {other} (line {line}); give one another name"
                )
            else:
                first[name] = (kind, key.line)


def _virtual(entry: Node) -> Iterator[Diagnostic]:
    kind = _child(entry, "virtual")
    if not isinstance(entry, Mapping):
        return
    if not isinstance(kind, Scalar) or kind.value() is None:
        if "gpus" in entry.entries:
            yield _at(
                entry.entries["gpus"][0],
                "'gpus' are simulated cards of a virtual machine; remove it, or add 'virtual: box'",
            )
        return
    for name in _NOT_FOR_VIRTUAL:
        if name in entry.entries:
            yield _at(
                entry.entries[name][0],
                f"{quote(name)} of a virtual machine comes from the virtual lab; remove it, "
                "or remove 'virtual'",
            )


def _cycles(
    section: _Section, successors: Callable[[Node], list[Scalar]], what: str
) -> Iterator[Diagnostic]:
    """Yield one mistake for each reference that closes a cycle.

    Depth first with an explicit stack: a chain of thousands of groups is no reason to fail.
    """
    done: set[str] = set()
    for start in section:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, Iterator[Scalar]]] = []
        if start not in done:
            stack.append((start, iter(successors(section[start][1]))))
            path.append(start)
            on_path.add(start)
        while stack:
            name, rest = stack[-1]
            for node in rest:
                following = node.text
                if following in on_path:
                    loop = [*path[path.index(following) :], following]
                    shown = loop if len(loop) <= 8 else [*loop[:6], "…", following]
                    yield _at(
                        node,
                        f"{what} {quote(following)} form a cycle ({' -> '.join(shown)}); "
                        "remove one of these references",
                    )
                elif following in section and following not in done:
                    stack.append((following, iter(successors(section[following][1]))))
                    path.append(following)
                    on_path.add(following)
                    break
            else:
                stack.pop()
                path.pop()
                on_path.discard(name)
                done.add(name)
