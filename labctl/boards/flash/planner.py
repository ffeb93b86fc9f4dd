"""Which method flashes a board, chosen before anything is touched."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labctl.boards.flash.image import Image
from labctl.boards.flash.method import GROUP, Method, Say, Target
from labctl.boards.keys import problems
from labctl.boards.model import BoardModel
from labctl.errors import UsageError
from labctl.inventory.diagnostics import did_you_mean

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

_COMMON = ("to", "method", "note")


def method_names() -> list[str]:
    """Return the names of the methods that are installed."""
    return sorted(entry.name for entry in importlib.metadata.entry_points(group=GROUP))


def method_class(name: str) -> type[Method] | None:
    """Return the method ``name``, or None where none is installed."""
    for entry in importlib.metadata.entry_points(group=GROUP, name=name):
        found: type[Method] = entry.load()
        return found
    return None


def targets(model: BoardModel) -> list[Target]:
    """Return the places of ``model`` that can be written, each with its method, the best first."""
    found = []
    for entry in model.data["flash"]:
        known: dict[str, Any] = dict(entry)
        config = {key: value for key, value in known.items() if key not in _COMMON}
        found.append(Target(known["to"], known["method"], config, known.get("note") or ""))
    return found


def choose(
    bench: Bench, image: Image, *, to: str | None, method: str | None, via: str | None, say: Say
) -> tuple[Method, list[str]]:
    """Return the method that fits, and why those before it do not.

    Args:
        bench: The board.
        image: What is to be written.
        to: Name of the place; the first of the model if None.
        method: Name of the method; the first that can be used if None.
        via: Way to the board, for methods that know several; any if None.
        say: Gets a line for each step that takes a while.

    Raises:
        UsageError: The model names no such place or method, or none that can be used here; the
            message says why.
    """
    model, name = bench.model, bench.name
    entries = targets(model)
    if not entries:
        raise UsageError("its model says no way to flash it", thing=name,
                         action=f"describe one below 'flash:' in {model.path}")  # fmt: skip
    places = list(dict.fromkeys(one.name for one in entries))
    place = places[0] if to is None else to
    if place not in places:
        raise UsageError(
            f"it has no '{place}' to flash{did_you_mean(place, places)}", thing=name,
            action=f"--to {' or '.join(places)}",
        )  # fmt: skip
    entries = [one for one in entries if one.name == place]
    known = [one.method for one in entries]
    if method is not None and method not in known:
        raise UsageError(
            f"its model says no method '{method}' for '{place}'{did_you_mean(method, known)}",
            thing=name, action=f"--method {' or '.join(known)}",
        )  # fmt: skip
    reasons: list[str] = []
    for entry in entries:
        if method in (None, entry.method):
            made = _make(bench, entry, image, via, say)
            if isinstance(made, Method):
                return made, reasons
            reasons.append(f"{entry.method}: {made}")
    raise UsageError(f"nothing here can write its '{place}'", thing=name,
                     action="; ".join(reasons))  # fmt: skip


def _make(bench: Bench, target: Target, image: Image, via: str | None, say: Say) -> Method | str:
    """Return the method of ``target``, or why it cannot be used."""
    found = method_class(target.method)
    if found is None:
        return f"labctl has no such method ({', '.join(method_names())})"
    mistakes = problems(found.keys, target.config)
    if mistakes:
        raise UsageError("; ".join(mistakes), thing=f"{bench.model.path}: flash {target.method}",
                         action="correct it; see docs/flashing.md")  # fmt: skip
    if via is not None:
        if via not in found.ways:
            return f"it knows no way '{via}'{did_you_mean(via, found.ways)}"
        target = replace(target, config={**target.config, "via": [via]})
    if found.accepts and image.kind not in found.accepts:
        return f"it takes {_either(sorted(found.accepts))}, not {image.kind}"
    if image.streamed and not found.streams:
        return f"it carries what fits into memory, not {image.size:,} bytes"
    made = found(bench, target, say)
    return made.missing() or made


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)
