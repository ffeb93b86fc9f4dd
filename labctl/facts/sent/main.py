"""What runs on the host: ``python3 - NONCE SECONDS PART``, with the file of `bundle` as its input.

The part is ``machine`` (psutil) or ``cards`` (NVML). What can be said is printed as records of the
script that started it (`labctl.transport.script`), under its random word; with ``-`` for that word,
the lines of `labctl.facts.gpu.nvml_reader` alone.

Exit status: 0 said, 3 there is nothing to say it by, so that it is the shell's to ask. With ``-``
also 124, if the driver did not answer in time: what it said before is out.
"""

from __future__ import annotations

import json
import shutil
import sys

from labctl.facts.gpu import here, nvml_reader
from labctl.facts.sent import machine
from labctl.facts.sent.child import Child

_NOTHING, _LATE = 3, 124
_NO_LIBRARY = 12  # NVML_ERROR_LIBRARY_NOT_FOUND


def main(words: list[str]) -> int:
    """Print what can be said and return the exit status; see the module."""
    nonce, seconds, part = words
    if part == "machine":
        said = _machine(nonce)
    else:
        text, whole = Child(nvml_reader.read, float(seconds)).result()
        said = not whole or _of_use(text)
        if nonce == "-":
            sys.stdout.write(text)
            return _LATE if not whole else 0 if said else _NOTHING
        if said:
            _record(nonce, "gpu", _cards(text, whole))
    sys.stdout.flush()
    return 0 if said else _NOTHING


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
