"""Recordings instead of machines: the same rule, on files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from labctl.errors import UsageError
from labctl.facts.gpu.recording import decode, read_recording
from labctl.gpu.reading import Reading

# A full report of eight cards has 100 kB; nobody records this much of one machine.
_LARGEST = 64 << 20


def replay(paths: Sequence[str]) -> list[Reading]:
    """Return the readings in the files ``paths``; a folder stands for the files in it.

    Raises:
        UsageError: A file cannot be read, or is no recording of cards; a folder holds none.
    """
    return [reading for path in paths for reading in _replay_path(Path(path))]


def _replay_path(path: Path) -> Iterator[Reading]:
    if not path.is_dir():
        found = _read(path)
        if found is None:
            raise UsageError(
                "no recording of cards that labctl knows",
                thing=str(path),
                action="'labctl gpu --help' lists what can be replayed",
            )
        yield from found
        return
    # In a folder lie other files too: what is no recording of cards is passed over.
    some = False
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        found = _read(file)
        some = some or found is not None
        yield from found or []
    if not some:
        raise UsageError("no recording of cards in this folder", thing=str(path))


def _read(path: Path) -> list[Reading] | None:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(error.strerror or str(error), thing=str(path)) from None
    if len(raw) > _LARGEST:
        raise UsageError("larger than 64 MiB: no recording of one machine", thing=str(path))
    facts = read_recording(decode(raw))
    return None if facts is None else [Reading(path.name, one) for one in facts]
