"""What runs on the host: ``python3 - NONCE SECONDS PART...``, the file of `bundle` as its input.

Parts: ``machine`` (psutil) and ``cards`` (NVML). What can be said is printed as records of the
script that started it (`labctl.transport.script`), under its random word; with ``-`` for that word,
the lines of `labctl.facts.gpu.nvml_reader` alone.

Exit status: `NOTHING` plus 1 where the machine's facts are out, plus 2 where the cards' are. What
is not out is the shell's to ask. With ``-``: 0, 124 if the driver did not answer in time, 3 if NVML
cannot be had here.
"""

from __future__ import annotations

import json
import shutil
import sys

from labctl.facts.gpu import here, nvml_reader
from labctl.facts.sent import machine
from labctl.facts.sent.child import Child

NOTHING = 40
_LATE, _NO_NVML = 124, 3
_NO_LIBRARY = 12  # NVML_ERROR_LIBRARY_NOT_FOUND


def main(words: list[str]) -> int:
    """Print what can be said and return the exit status; see the module."""
    nonce, seconds, *parts = words
    # First, while there is one thread only; it reads while the rest is done.
    cards = Child(nvml_reader.read, float(seconds)) if "cards" in parts else None
    if nonce == "-":
        text, whole = cards.result() if cards else ("", True)
        sys.stdout.write(text)
        return (0 if _of_use(text) else _NO_NVML) if whole else _LATE
    done = NOTHING
    if "machine" in parts and _machine(nonce):
        done += 1
    if cards:
        text, whole = cards.result()
        if not whole or _of_use(text):
            _record(nonce, "gpu", _cards(text, whole))
            done += 2
    sys.stdout.flush()
    return done


def _machine(nonce: str) -> bool:
    try:
        import psutil  # noqa: PLC0415 - what cannot be imported is an answer
    except ImportError:
        return False
    for name, probe in machine.PROBES.items():
        _record(nonce, name, f"[facts]\n{json.dumps(probe(psutil))}\n[facts=0]\n")
    _record(nonce, "disks", machine.disks())
    return True


def _of_use(text: str) -> bool:
    """Tell whether what NVML said is an answer that nobody else gives better.

    Why it cannot be had the vendor's tool says in its own words; where there is none, we say it.
    """
    code = _failure(text)
    return code == 0 or (code != _NO_LIBRARY and shutil.which("nvidia-smi") is None)


def _failure(text: str) -> int:
    """Return with which nvmlReturn_t NVML as a whole failed, 0 if it did not."""
    try:
        first = json.loads(text.partition("\n")[0])
    except ValueError:
        return _NO_LIBRARY
    return int(first.get("failed", 0))


def _cards(text: str, whole: bool) -> str:
    # A status has eight bits; NVML's 999 keeps its own number here.
    status = _failure(text) if whole else _LATE
    return (
        f"[tool]\nNVML\n[tool=0]\n[bus]\n{here.bus_lines()}\n[bus=0]\n"
        f"[said]\n{text}\n[said={status}]\n"
    )


def _record(nonce: str, name: str, text: str) -> None:
    sys.stdout.write(f"\n@{nonce} begin {name}\n{text}\n@{nonce} end 0\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
