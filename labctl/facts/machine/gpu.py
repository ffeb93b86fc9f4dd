"""The cards, by their vendor's tool: one call for everything, with a deadline.

The parsers are those of `labctl.facts.gpu`; this probe only runs the tool under `within`, so that a
wedged driver costs its own facts and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.gpu import collect
from labctl.facts.gpu.card import Card, GpuFacts
from labctl.facts.machine.probe import Probe, Sections, first_line
from labctl.facts.value import Fact, Known, absent


@dataclass(frozen=True)
class Unread:
    """A card that cannot be read.

    Attributes:
        pci: Its address, as far as it is known.
        reason: Word of `labctl.facts.value.Reason`.
        words: What the driver says of it.
    """

    pci: str
    reason: str
    words: str


@dataclass(frozen=True)
class Gpu:
    """The cards of a machine.

    Attributes:
        tool: The vendor's tool that was asked, such as ``nvidia-smi``, or ``NVML``.
        status: Its exit status; NVIDIA's is one of NVML's return codes (nvml.h).
        said: The first line of what it said.
        driver: Version of the driver, as the tool says it.
        cards: The cards that can be read; a reason where the tool could read none.
        unread: Cards of which the tool, or the bus, knows, and that cannot be read.
    """

    tool: Fact[str]
    status: Fact[int]
    said: Fact[str]
    driver: Fact[str]
    cards: Fact[Sequence[Card]]
    unread: Fact[Sequence[Unread]]


def parse(text: str) -> Gpu:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    tool = found["tool"]
    name = tool.text.strip()
    trouble = tool.trouble("a tool for cards")
    said = found["said"]
    if trouble or (name and said.status is None):
        why = trouble or said.trouble(name) or absent()
        known: Fact[str] = trouble or Known(name)
        return Gpu(known, why, why, why, why, why)
    links = found["links"].text
    body = f"TOOL {name}\n{said.text}\nSTATUS {said.status}\nLINKS\n{links}\nPEOPLE\n"
    bus = "\n".join(line if line.count(" ") > 1 else f"{line} " for line in found["bus"].lines)
    facts = collect.parse({"gpu tools": body, "gpu bus": bus}).facts
    whole = from_facts(facts)
    if not name:
        gone = absent("no tool for cards: nvidia-smi, cnmon, rocm-smi")
        return Gpu(gone, gone, gone, gone, whole.cards, whole.unread)
    late = said.trouble(name) if said.status in (124, 127) else None
    words = first_line(type(said)(said.lines, 0), name)
    if name == "NVML":
        words = Known(str(facts.failure)) if facts.failure else absent("it told facts")
    return Gpu(
        Known(name),
        late or Known(said.status if said.status is not None else 0),
        late or words,
        whole.driver,
        whole.cards,
        whole.unread,
    )


def from_facts(facts: GpuFacts) -> Gpu:
    """Return what a reading from any source says, for instance a recording of somebody else's."""
    readable = tuple(card for card in facts.cards if card.error is None)
    # Where nothing can be read there is one cause, and not one for each card.
    broken = [] if facts.failure else [card for card in facts.cards if card.error is not None]
    unread = tuple(
        Unread(
            card.pci.value if isinstance(card.pci, Known) else "",
            str(card.error.reason) if card.error else "",
            card.error.words if card.error else "",
        )
        for card in broken
    )
    nothing = absent("not in this recording")
    return Gpu(
        Known(facts.source) if facts.source else nothing,
        nothing,
        Known(str(facts.failure)) if facts.failure else nothing,
        facts.driver,
        facts.failure or Known(readable),
        facts.failure or Known(unread),
    )


PROBE = Probe(
    "gpu",
    r"""
for tool in nvidia-smi cnmon amd-smi rocm-smi ''; do command -v "$tool" >/dev/null && break; done
printf '[tool]\n%s\n[tool=0]\n[bus]\n' "$tool"
for dev in /sys/bus/pci/devices/*; do
[ -e "$dev/vendor" ] || continue
read -r class <"$dev/class"; case $class in 0x03*|0x12*) ;; *) continue;; esac
read -r vendor <"$dev/vendor"; case $vendor in 0x10de|0x1002|0xcabc) ;; *) continue;; esac
bound=$(readlink "$dev/driver"); printf '%s %s %s\n' "${dev##*/}" "$vendor" "${bound##*/}"
done
printf '[bus=0]\n'
case $tool in
nvidia-smi) part said 20 nvidia-smi -q -x 2>&1
[ $rc -eq 0 ] && { printf '[links]\n'; for what in -s -e; do
within 10 nvidia-smi nvlink $what 2>&1 || break; done; printf '\n[links=0]\n'; };;
cnmon) part said 20 cnmon 2>&1;;
amd-smi) printf '[said]\n'; for what in static metric process; do
within 20 amd-smi $what --json 2>&1; rc=$?; echo; [ $rc -eq 0 ] || break; done
printf '[said=%s]\n' $rc;;
rocm-smi) part said 20 rocm-smi --showallinfo --json 2>&1;;
*) printf '[said]\n[said=127]\n';;
esac""".strip(),
    parse,
    order=96,
)
