"""The keys that a power back end or a way to flash takes, and what is wrong with those given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.inventory.diagnostics import did_you_mean, quote

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list of texts",
    Path: "the path of a file",
}


@dataclass(frozen=True)
class Key:
    """One key of a back end.

    Attributes:
        kind: ``str``, ``int``, ``float``, ``bool``, ``list`` (of texts), or ``Path`` for a file
            (absolute, or from ``~``).
        help: What it means, in one line.
        needed: It must be there.
        choices: The values that are allowed; empty for any.
        least: The smallest number.
        pattern: What a text must match as a whole; empty for anything but nothing.
    """

    kind: type
    help: str
    needed: bool = False
    choices: Sequence[object] = ()
    least: int = 0
    pattern: str = ""


# A host name or address, with a port if need be. Nothing else may become part of a URL.
HOST = Key(
    str,
    "Host name or address, with ':PORT' if it is not the usual one.",
    needed=True,
    pattern=r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?",
)


def problems(keys: Mapping[str, Key], config: Mapping[str, object]) -> list[str]:
    """Return what is wrong with ``config``, each in one sentence.

    Args:
        keys: What is taken.
        config: What was said, without what all back ends or methods have.
    """
    found = [
        f"unknown key {quote(name)}{did_you_mean(name, keys) or '; known: ' + ', '.join(keys)}"
        for name in config
        if name not in keys
    ]
    for name, key in keys.items():
        if name in config:
            found += _wrong(name, key, config[name])
        elif key.needed:
            found.append(f"{quote(name)} is missing: {key.help}")
    return found


def _wrong(name: str, key: Key, value: object) -> list[str]:
    # true is an int in Python, and an int is fine where a float is.
    kinds: dict[type, tuple[type, ...]] = {Path: (str,), float: (int, float)}
    fits = isinstance(value, kinds.get(key.kind, (key.kind,)))
    if not fits or isinstance(value, bool) is not (key.kind is bool):
        return [f"{quote(name)} must be {_WORDS[key.kind]}, not {quote(value)}"]
    if key.kind is list and not all(isinstance(one, str) for one in value):  # type: ignore[attr-defined] # it is one
        return [f"{quote(name)} must be {_WORDS[list]}"]
    if key.choices and value not in key.choices:
        return [f"{quote(name)} must be one of {', '.join(map(str, key.choices))}"]
    if isinstance(value, int | float) and value < key.least:
        return [f"{quote(name)} must be at least {key.least}"]
    if isinstance(value, str) and not re.fullmatch(key.pattern or r"(?s)\s*\S.*", value):
        return [f"{quote(name)} is {quote(value)}, which does not fit: {key.help}"]
    if key.kind is Path and not str(value).startswith(("/", "~")):
        return [f"{quote(name)} must be absolute or begin with '~'"]
    return []


def read_secret(config: Mapping[str, object], name: str) -> str:
    """Return the first line of the file that the key ``name`` names.

    Raises:
        LabctlError: It cannot be read, or is empty.
    """
    path = Path(str(config[name])).expanduser()
    try:
        secret = path.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise LabctlError(
            f"'{name}' {path} cannot be read: {reason}", action="write the secret into that file"
        ) from None
    if not secret:
        raise LabctlError(f"'{name}' {path} is empty", action="write the secret on its first line")
    return secret
