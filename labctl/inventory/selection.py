"""Words on the command line to hosts and boards: names, globs, ``@tag``, ``!exclusion``, all."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from labctl.errors import UsageError
from labctl.inventory.diagnostics import did_you_mean, quote
from labctl.inventory.model import Board, FpgaProject, Host, Inventory


class _Item(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def tags(self) -> frozenset[str]: ...


T = TypeVar("T", bound=_Item)


def select(inventory: Inventory, words: Sequence[str]) -> list[Host]:
    """Return the hosts that ``words`` name, each once, in the order of the inventory.

    Args:
        inventory: Where to look.
        words: Names, globs (``gpu*``), ``@tag`` or ``@group`` (globs too), ``all``; each with a
            ``!`` before it to leave out. Only exclusions start from all. A word may hold several,
            separated by commas.

    Raises:
        UsageError: A word names nothing, or nothing is left.
    """
    return _pick(inventory.hosts, words, "host", lambda host: host.tags | set(host.groups))


def select_boards(inventory: Inventory, words: Sequence[str]) -> list[Board]:
    """Return the boards that ``words`` name, by the rules of `select`.

    Raises:
        UsageError: A word names nothing, or nothing is left.
    """
    return _pick(inventory.boards, words, "board", lambda board: board.tags)


def select_any(inventory: Inventory, words: Sequence[str]) -> list[Host | Board | FpgaProject]:
    """Return the hosts, boards and FPGA projects that ``words`` name, by the rules of `select`.

    Raises:
        UsageError: A word names nothing, or nothing is left.
    """
    items: dict[str, Host | Board | FpgaProject] = {
        **inventory.hosts,
        **inventory.boards,
        **inventory.fpga,
    }
    return _pick(
        items,
        words,
        "entry",
        lambda item: item.tags | set(item.groups) if isinstance(item, Host) else item.tags,
    )


def _pick(
    items: Mapping[str, T],
    words: Sequence[str],
    kind: str,
    labels: Callable[[T], frozenset[str] | set[str]],
) -> list[T]:
    parts = [part for word in words for part in word.split(",") if part]
    if not parts:
        raise UsageError(
            f"no {kind} named", action="write a name, a glob such as 'box*', '@tag', or 'all'"
        )
    wanted: set[str] = set()
    unwanted: set[str] = set()
    for part in parts:
        target = unwanted if part.startswith("!") else wanted
        target |= _matches(items, part.removeprefix("!"), kind, labels)
    if all(part.startswith("!") for part in parts):
        wanted = set(items)
    chosen = [item for name, item in items.items() if name in wanted - unwanted]
    if not chosen:
        raise UsageError(
            f"no {kind} is left of {quote(' '.join(parts))}",
            action="'labctl inventory show' lists them with their tags",
        )
    return chosen


def _matches(
    items: Mapping[str, T],
    pattern: str,
    kind: str,
    labels: Callable[[T], frozenset[str] | set[str]],
) -> set[str]:
    if pattern in ("all", "@all"):
        return set(items)
    by_label = pattern.startswith("@")
    fits = _matcher(pattern.removeprefix("@"))
    found = {
        name
        for name, item in items.items()
        if (any(map(fits, labels(item))) if by_label else fits(name))
    }
    if not found:
        known = sorted({f"@{label}" for item in items.values() for label in labels(item)})
        kind_of_word = "tag or group" if by_label else kind
        near = did_you_mean(pattern, [*items, *known]).removeprefix("; ")
        raise UsageError(
            f"no {kind_of_word} {quote(pattern)}",
            action=f"{near} 'labctl inventory show' lists what there is".strip(),
        )
    return found


def _matcher(pattern: str) -> Callable[[str], bool]:
    if not re.search(r"[*?\[]", pattern):
        return pattern.__eq__
    compiled = re.compile(fnmatch.translate(pattern))
    return lambda name: compiled.match(name) is not None
