"""Facts from plain data: dataclasses of facts, with everything that is not named left out."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from labctl.facts.machine.probe import all_probes
from labctl.facts.value import Fact, Known, Reason, Unknown, absent


def parts(data: Mapping[str, Any]) -> dict[str, Fact[object]]:
    """Return the parts of a machine; probes that ``data`` does not name are absent."""
    known = {probe.name: typing.get_type_hints(probe.parse)["return"] for probe in all_probes()}
    assert set(data) <= set(known), f"no such probe: {set(data) - set(known)}"
    return {
        name: Known(make(kind, data[name])) if name in data else absent()
        for name, kind in known.items()
    }


def make(kind: Any, value: Any) -> Any:
    """Return ``value`` as a ``kind``."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):  # Fact[...]
        if isinstance(value, Mapping) and set(value) <= {"unknown", "words"}:
            return Unknown(Reason(value["unknown"]), value.get("words", ""))
        inner = next(a for a in typing.get_args(kind) if typing.get_origin(a) is Known)
        return Known(make(typing.get_args(inner)[0], value))
    if kind is types.NoneType or value is None:
        return None
    if origin is not None and issubclass(origin, Sequence):
        assert isinstance(value, list), f"{value!r} is no list"
        return tuple(make(typing.get_args(kind)[0], one) for one in value)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        assert set(value) <= set(hints), f"{kind.__name__} has no {set(value) - set(hints)}"
        return kind(
            **{
                name: make(hint, value[name]) if name in value else _nothing(hint)
                for name, hint in hints.items()
            }
        )
    assert isinstance(value, kind), f"{value!r} is no {kind.__name__}"
    return value


def _nothing(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return None if types.NoneType in typing.get_args(hint) else absent()
    return hint()
