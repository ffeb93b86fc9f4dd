"""What nvidia-smi prints instead of a report, in its own words.

The words are those of the program and of nvmlErrorString (NVML API reference); where only the exit
code is known, it is the number of an nvmlReturn_t.
"""

from __future__ import annotations

import re

from labctl.facts.gpu.card import Card, GpuFacts, make_card
from labctl.facts.gpu.quantity import no_value, read
from labctl.facts.value import Known, Reason, Unknown

NAME = "nvidia-smi"

# The driver as a whole.
_ALL: tuple[tuple[str, Reason], ...] = (
    (r"Driver/library version mismatch", Reason.UNREADABLE),
    (r"couldn't communicate with the NVIDIA driver", Reason.ABSENT),
    (r"Failed to initialize NVML: .*", Reason.UNREADABLE),
    (r"No devices were found", Reason.ABSENT),
    (r"(?:NVIDIA-SMI|libnvidia-ml\S*).*(?:not found|no such file)", Reason.ABSENT),
    (r"nvidia-smi: (?:command )?not found", Reason.ABSENT),
    (r"couldn't find libnvidia-ml\S* library", Reason.ABSENT),
    (r"Mismatch in versions between nvidia-smi and NVML", Reason.UNREADABLE),
    (r"Insufficient Permissions", Reason.NO_PERMISSION),
    (r"RmInitAdapter failed", Reason.UNREADABLE),
)
# One card; the address or the index stands in the words.
_HANDLE = re.compile(
    r"Unable to determine the device handle for GPU\s*(?:(\d+):\s+)?(\S+?):\s+(\S.*)",
    re.IGNORECASE,
)
# nvmlReturn_t (nvml.h): what a reading ends with when it printed nothing of use.
_CODES = {
    9: ("the NVIDIA driver is not loaded", Reason.ABSENT),
    12: ("the library libnvidia-ml is not there", Reason.ABSENT),
    15: ("a card is lost: it has fallen off the bus", Reason.LOST),
    17: ("the system has no memory for the driver", Reason.UNREADABLE),
    18: ("driver and library are of different versions", Reason.UNREADABLE),
    4: ("no permission", Reason.NO_PERMISSION),
    10: ("the driver timed out", Reason.TIMED_OUT),
    124: ("nvidia-smi did not answer in time", Reason.TIMED_OUT),
    127: ("there is no nvidia-smi", Reason.ABSENT),
    137: ("nvidia-smi did not answer in time and had to be killed", Reason.TIMED_OUT),
    999: ("the driver says 'Unknown Error'", Reason.UNREADABLE),
}


def recognises(text: str) -> bool:
    """Tell whether ``text`` has words of a failure."""
    if text.lstrip().startswith(("{", "[")):
        return False  # JSON that speaks of failures
    return bool(_HANDLE.search(text)) or _whole(text) is not None


def parse(text: str) -> list[GpuFacts]:
    """Return what failed: the cards that the words name, or everything."""
    blocks = [block for block in re.split(r"^---\s*$", text, flags=re.MULTILINE) if block.strip()]
    found = [_block(block) for block in blocks if recognises(block)]
    return found or [GpuFacts(NAME, failure=Unknown(Reason.UNREADABLE, "no words of a failure"))]


def failure(status: int, output: str) -> Unknown:
    """Return why nvidia-smi, which ended with ``status``, printed ``output`` and no report."""
    said = _whole(output)
    if said is not None:
        return said
    if status in _CODES:
        words, reason = _CODES[status]
        return Unknown(reason, words)
    line = next((line.strip() for line in output.splitlines() if line.strip()), "nothing")
    return Unknown(Reason.UNREADABLE, f"nvidia-smi ended with {status} and said: {line[:120]}")


def broken_cards(text: str) -> list[Card]:
    """Return the cards of which ``text`` says that they cannot be read."""
    cards = []
    for match in _HANDLE.finditer(text):
        number, address, said = match.groups()
        words = " ".join(said.split()).rstrip(".")
        why = no_value(words) or Unknown(Reason.UNREADABLE, words)
        cards.append(
            make_card(
                {
                    "index": read(number, "count"),
                    "vendor": Known("NVIDIA"),
                    "pci": read(address, "pci"),
                    "error": Unknown(why.reason, words),
                }
            )
        )
    return cards


def _whole(text: str) -> Unknown | None:
    for pattern, reason in _ALL:
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            line = next(line for line in text.splitlines() if re.search(pattern, line, re.I))
            version = re.search(r"NVML library version: (\S+)", text)
            extra = f" (library {version.group(1)})" if version else ""
            return Unknown(reason, line.strip().rstrip(".") + extra)
    return None


def _block(text: str) -> GpuFacts:
    cards = broken_cards(text)
    return GpuFacts(NAME, cards=tuple(cards), failure=None if cards else _whole(text))
