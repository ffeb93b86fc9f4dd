"""What an environment needs of a machine, as rules: versions, encoders, decoders.

A file of a few lines (docs/check.md); each line becomes a rule like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from labctl.errors import UsageError
from labctl.health.rules_file import Rule, parse_rules

# Word in the file -> the fact, what people call it, and what to do.
_CONTAINER = "a newer one, or run in a container"
_VERSIONS = {
    "glibc": ("tools.glibc", "glibc", "it comes with the system: a newer release, or a container"),
    "gcc": ("tools.gcc", "gcc", f"install {_CONTAINER}: apt search '^gcc-[0-9]'"),
    "python": ("tools.python", "python3", f"install {_CONTAINER} (pyenv, uv)"),
    "ffmpeg": ("tools.ffmpeg", "ffmpeg", f"install {_CONTAINER}"),
    "driver": ("gpu.driver", "the cards' driver", "upgrade it with a reboot, cards empty"),
}
_LISTS = {"encoders": "encoder", "decoders": "decoder"}
_VERSION = re.compile(r"\d+(?:\.\d+)*")
_CODEC = re.compile(r"[A-Za-z0-9_.-]+")


def needs(path: Path) -> Sequence[Rule]:
    """Return the rules that the file ``path`` stands for.

    Raises:
        UsageError: It cannot be read, or something in it is not right.
    """
    try:
        # Everything stays text: 2.30 is not 2.3. This loader makes nothing but texts and lists.
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot be read: {error}", thing=str(path)) from error
    if not isinstance(data, dict) or not data:
        raise UsageError(
            "no needs in it", thing=str(path), action="write, for instance: glibc: 2.36"
        )
    rules: list[dict[str, str]] = []
    for key, value in data.items():
        if key in _VERSIONS:
            rules.append(_version(str(key), str(value), path))
        elif key in _LISTS:
            rules += _codecs(str(key), value, path)
        else:
            known = ", ".join((*_VERSIONS, *_LISTS))
            raise UsageError(f"there is no need '{key}'", thing=str(path), action=known)
    return parse_rules(yaml.safe_dump(rules), str(path))


def _version(key: str, wanted: str, path: Path) -> dict[str, str]:
    if not _VERSION.fullmatch(wanted):
        raise UsageError(f"'{key}: {wanted}' is no version", thing=str(path), action="such as 2.36")
    fact, name, action = _VERSIONS[key]
    return {
        "id": f"needs-{key}",
        "when": f"reason({fact}) == 'absent' or version({fact}) < version('{wanted}')",
        "severity": "warning",
        "says": f"{name} is {{{fact}}}, and {wanted} is needed ({path.name})",
        "action": action,
    }


def _codecs(key: str, wanted: object, path: Path) -> list[dict[str, str]]:
    names = wanted if isinstance(wanted, list) else [wanted]
    rules = []
    for name in map(str, names):
        if not _CODEC.fullmatch(name):
            raise UsageError(f"'{name}' is no name of a {_LISTS[key]}", thing=str(path))
        rules.append(
            {
                "id": f"needs-{_LISTS[key]}-{name}",
                "when": f"reason(tools.{key}) == 'absent' or '{name}' not in tools.{key}",
                "severity": "warning",
                "says": f"ffmpeg ({{tools.ffmpeg}}) has no {_LISTS[key]} {name} ({path.name})",
                "action": f"an ffmpeg that was built with it: ffmpeg -hide_banner -{key}",
            }
        )
    return rules
