"""What NVIDIA's driver said in the kernel's log: Xid errors, and cards that fell off the bus.

Source: NVIDIA "XID Errors", https://docs.nvidia.com/deploy/xid-errors/ (form of the line).
"""

from __future__ import annotations

import re

from labctl.facts.gpu.card import GpuFacts, Xid, make_card
from labctl.facts.gpu.quantity import pci_address
from labctl.facts.value import Known

NAME = "kernel log"

_XID = re.compile(r"NVRM: (?:GPU at )?Xid \((?:PCI:)?([0-9a-fA-F:.]+)\):\s*(\d+)(?:,\s*(.*))?")
_FELL = re.compile(r"NVRM:.*?([0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?).*"
                   r"fallen off the bus")  # fmt: skip
_FALLEN_OFF = 79
# dmesg with and without -T, dmesg -x with --time-format=iso, journalctl -k, syslog.
_WHEN = re.compile(
    r"(?:\S+\s*:\S+\s*:\s*)?(?:\[\s*([^\]]+?)\]"
    r"|(\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?)"
    r"|([A-Z][a-z]{2}\s+\d+\s[\d:]{8}))"
)
_KERNEL = re.compile(
    r"^(?:\S+\s*:\S+\s*:\s*)?(?:\[\s*[^\]]+\]|\d{4}-\d\d-\d\dT\S+|[A-Z][a-z]{2}\s+\d+ [\d:]{8})\s"
)


def recognises(text: str) -> bool:
    """Tell whether ``text`` looks like the kernel's log."""
    if "NVRM:" in text:
        return True
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    return bool(lines) and sum(bool(_KERNEL.match(line)) for line in lines) * 2 > len(lines)


def parse(text: str) -> list[GpuFacts]:
    """Return a reading with the errors, and a card for each address that they name."""
    xids = find_xids(text)
    cards = [
        make_card({"index": Known(at), "vendor": Known("NVIDIA"), "pci": Known(pci)})
        for at, pci in enumerate(dict.fromkeys(xid.pci for xid in xids))
    ]
    note = "" if xids else "the log says nothing of NVIDIA's cards"
    return [GpuFacts(NAME, cards=tuple(cards), xids=tuple(xids), notes=(note,) if note else ())]


def find_xids(text: str) -> list[Xid]:
    """Return the errors in the order of the log."""
    found = []
    for line in text.splitlines():
        match = _XID.search(line)
        fell = None if match else _FELL.search(line)
        if not match and not fell:
            continue
        when = _WHEN.match(line)
        stamp = next((part for part in when.groups() if part), "") if when else ""
        try:
            pci = pci_address((match or fell).group(1))  # type: ignore[union-attr]
        except ValueError:
            continue
        code = int(match.group(2)) if match else _FALLEN_OFF
        words = (match.group(3) or "") if match else "the card has fallen off the bus"
        found.append(Xid(code, pci, stamp.strip(), words.strip()))
    return found
