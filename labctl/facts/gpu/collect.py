"""The cards of a machine in one round trip with nothing installed: POSIX sh and the vendor's tool.

Each snippet prints what is so; the parsers beside it make facts of it. What the tools say goes
through the same parsers as recordings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labctl.facts.gpu import kernel_log, people
from labctl.facts.gpu.card import Card, GpuFacts, make_card
from labctl.facts.gpu.people import Holder, OpenDevice
from labctl.facts.gpu.quantity import pci_address
from labctl.facts.sent.bundle import CARDS_S, Collector, prologue, start
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Known, Reason, Unknown, absent

if TYPE_CHECKING:
    from labctl.facts.gpu.slurm import SlurmFacts

# What a tool may take. A healthy nvidia-smi without persistence mode needs up to 10 s for 8 cards.
TOOL_S = 20
NO_TOOL = 127

# What a tool for cards may print is all asked at once; its last word is its status.
# A whole report is kept for the process ids in it: they are looked up in the same round trip.
_TOOLS = """
for tool in nvidia-smi cnmon amd-smi rocm-smi tegrastats; do
  command -v $tool >/dev/null 2>&1 && break
  tool=
done
echo "TOOL $tool"
case $tool in
  nvidia-smi) within @SECONDS@ nvidia-smi -q -x 2>&1 ;;
  cnmon) within @SECONDS@ cnmon 2>&1 ;;
  amd-smi) within @SECONDS@ sh -c '
    for what in static metric process; do amd-smi $what --json; echo; done' 2>&1 ;;
  rocm-smi) within @SECONDS@ rocm-smi --showallinfo --json 2>&1 ;;
  tegrastats) within @SECONDS@ sh -c 'tegrastats --interval 200 | head -n 1' 2>&1 ;;
  *) false ;;
esac
status=$?
[ "$tool" ] || status=127
echo; echo "STATUS $status"
if [ "$tool $status" = "nvidia-smi 0" ]; then
  echo LINKS
  within @SECONDS@ nvidia-smi nvlink -s 2>&1
  # Counters only where a link is up: each call of nvidia-smi takes its time.
  grep -q 'Link [0-9]*: [0-9]' "$tools" && within @SECONDS@ nvidia-smi nvlink -e 2>&1
fi
"""

# Display controllers (PCI class 03) and accelerators (class 12) of the vendors whose tools are
# asked. Source: PCI Code and ID Assignment Specification; vendor ids of https://pci-ids.ucw.cz.
_BUS = r"""
for device in /sys/bus/pci/devices/*; do
  read class < $device/class && read vendor < $device/vendor || continue
  case $class in 0x03*|0x12*) ;; *) continue ;; esac
  case $vendor in 0x10de|0x1002|0xcabc) ;; *) continue ;; esac
  driver=$(readlink $device/driver) || driver=
  echo "${device##*/} $vendor ${driver##*/}"
done 2>/dev/null
"""
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0xcabc": "Cambricon"}
# Drivers that hold a card for something else than the tools: it is not missing.
_OTHER_USE = {"vfio-pci": "given to a virtual machine", "nouveau": "run by nouveau"}

_LOG = "dmesg 2>/dev/null | grep -E 'NVRM: .*(Xid|fallen off)' | tail -n 200\n"


@dataclass(frozen=True)
class Snippet:
    """One part of the script: the name of its record, and the shell that prints it."""

    name: str
    text: str


def snippets(
    *,
    sudo: bool = False,
    tool_s: int = TOOL_S,
    collector: Collector = Collector.AUTO,
    node: str = "",
) -> list[Snippet]:
    """Return the parts of the script in their order.

    Args:
        sudo: Let ``sudo -n`` look up other people's processes, where it asks for no password.
        tool_s: Seconds that the vendor's tool may take.
        collector: Whether NVML is asked in the machine's own Python, before the vendor's tool.
        node: The machine's name in Slurm, where that does not know it by its host name.
    """
    from labctl.facts.gpu import slurm  # noqa: PLC0415 - slow to import, and seldom needed

    # The file, and not the script's output, is what a tool keeps open that cannot be ended.
    tools = (
        PROLOGUE
        + prologue(collector)
        + "tools=$(mktemp || mktemp -p /dev/shm) || exit 71\n{\necho TOOL NVML\n"
        + start("cards", f"- {CARDS_S}", collector=collector)
        + 'echo; echo "STATUS $rich"\n} >"$tools"\n'
        + "case $rich in 0|124) ;; *)\n("
        + _TOOLS.replace("@SECONDS@", str(tool_s))
        + ') >"$tools";;\nesac\ncat "$tools"\n'
    )
    tools += (
        """pids=$(grep -oE '<pid>[0-9]+|"pid": [0-9]+' "$tools" | tr -dc '0-9\\n' | sort -u |\n"""
        "tr '\\n' ' ')\n"
    )
    tools += 'rm -f "$tools"\n'
    tools += 'echo; echo "PEOPLE"\n'
    look = people.snippet()
    if sudo:
        look = (
            's=\nif [ "$(id -u)" != 0 ] && sudo -n true; then s="sudo -n"; fi\n'
            f"$s env pids=\"$pids\" sh -s <<'LABCTL_END'\n{look}\nLABCTL_END\n"
        )
    return [
        Snippet("gpu bus", _BUS),
        Snippet("gpu tools", tools + look),
        Snippet("gpu log", _LOG),
        Snippet("gpu slurm", slurm.snippet(node)),
    ]


def parse_around(facts: GpuFacts, outputs: Mapping[str, str]) -> Collected:
    """Return ``facts`` with what `here` says beside them."""
    holders, devices = people.parse(outputs.get("gpu people", ""))
    xids = kernel_log.find_xids(outputs.get("gpu log", ""))
    facts = _with_bus(facts, _bus(outputs.get("gpu bus", "")))
    said_by_slurm = _slurm(outputs)
    return Collected(replace(facts, xids=tuple(xids)), holders, devices, said_by_slurm)


def _slurm(outputs: Mapping[str, str]) -> SlurmFacts | None:
    said = outputs.get("gpu slurm", "")
    if not said:
        return None
    from labctl.facts.gpu import slurm  # noqa: PLC0415 - slow to import, and seldom needed

    return slurm.parse(said)


@dataclass(frozen=True)
class Collected:
    """What the script brought: the facts, the people behind the processes, Slurm's word."""

    facts: GpuFacts
    holders: Mapping[int, Holder]
    open_devices: tuple[OpenDevice, ...]
    slurm: SlurmFacts | None = None


def parse(outputs: Mapping[str, str]) -> Collected:
    """Return the facts in the outputs of `snippets`, by name; those that are missing are lost."""
    said = outputs.get("gpu tools")
    bus = _bus(outputs.get("gpu bus", ""))
    if said is None:
        lost = Unknown(Reason.LOST, "the answer broke off before the cards were read")
        return Collected(GpuFacts("nvidia-smi", failure=lost, cards=_unread(bus, lost)), {}, ())
    # The last one: a process may be called like this, what follows has no free lines.
    text, _, about = said.rpartition("\nPEOPLE\n")
    facts = _with_bus(_tool(text), bus)
    holders, devices = people.parse(about)
    xids = kernel_log.find_xids(outputs.get("gpu log", ""))
    said_by_slurm = _slurm(outputs)
    return Collected(replace(facts, xids=tuple(xids)), holders, devices, said_by_slurm)


def _tool(text: str) -> GpuFacts:
    # One of them at most is needed.
    from labctl.facts.gpu import cnmon, rocm, smi_nvlink, tegrastats  # noqa: PLC0415

    head, _, rest = text.partition("\n")
    tool = head.removeprefix("TOOL").strip()
    output, _, ending = rest.rpartition("\nSTATUS ")
    status_text, _, links = ending.partition("\nLINKS\n")
    status = int(status_text) if status_text.strip().isdigit() else NO_TOOL
    if tool == "nvidia-smi":
        return smi_nvlink.with_links(nvidia(output, status), links)
    if tool == "NVML":
        from labctl.facts.gpu import nvml_facts  # noqa: PLC0415 - as above

        return nvml_facts.parse(output, whole=status != 124)
    if tool == "cnmon" and cnmon.recognises(output):
        return cnmon.parse(output)[0]
    if tool in ("amd-smi", "rocm-smi") and rocm.recognises(output):
        return rocm.parse(output)[0]
    if tool == "tegrastats" and tegrastats.recognises(output):
        return tegrastats.parse(output)[0]
    if not tool:
        return GpuFacts("", failure=absent("no tool for cards: nvidia-smi, cnmon, rocm-smi"))
    line = next((one.strip() for one in output.splitlines() if one.strip()), "nothing")
    reason = Reason.TIMED_OUT if status == 124 else Reason.UNREADABLE
    words = f"{tool} ended with {status} and said: {line[:120]}"
    return GpuFacts(tool, failure=Unknown(reason, words))


def nvidia(output: str, status: int) -> GpuFacts:
    """Return the facts in what ``nvidia-smi -q -x`` printed before it ended with ``status``."""
    from labctl.facts.gpu import smi_failure, smi_xml  # noqa: PLC0415 - slow, not for NVML

    broken = smi_failure.broken_cards(output)
    if not smi_xml.recognises(output):
        failure = None if broken else smi_failure.failure(status, output)
        return GpuFacts(smi_xml.NAME, cards=tuple(broken), failure=failure)
    facts = smi_xml.parse(output)[0]
    if not facts.cards and not broken:
        facts = replace(facts, failure=smi_failure.failure(status, output))
    elif status not in (0, 14):  # 14: a warning, the infoROM is damaged
        facts = replace(facts, notes=(*facts.notes, f"nvidia-smi ended with {status}"))
    known = {card.pci for card in facts.cards}
    more = [card for card in broken if card.pci not in known]
    return replace(facts, cards=(*facts.cards, *more))


@dataclass(frozen=True)
class _OnBus:
    pci: str
    vendor: str
    driver: str


def _bus(text: str) -> list[_OnBus]:
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\S+) (0x\w{4}) (\S*)", line.strip("\n"))
        if not match or match.group(2) not in _VENDORS:
            continue
        try:
            pci = pci_address(match.group(1))
        except ValueError:
            continue
        found.append(_OnBus(pci, _VENDORS[match.group(2)], match.group(3)))
    return found


def _unread(bus: list[_OnBus], why: Unknown) -> tuple[Card, ...]:
    """Return a card for each that is on the bus and cannot be read."""
    return tuple(
        make_card({"vendor": Known(one.vendor), "pci": Known(one.pci), "error": why})
        for one in bus
        if one.driver not in _OTHER_USE
    )


def _with_bus(facts: GpuFacts, bus: list[_OnBus]) -> GpuFacts:
    """Return ``facts`` with the cards that are on the bus and that the tool does not list."""
    notes = tuple(
        f"the card at {one.pci} is {_OTHER_USE[one.driver]}"
        for one in bus
        if one.driver in _OTHER_USE
    )
    facts = replace(facts, notes=facts.notes + notes)
    if facts.failure is not None:
        if not bus and facts.failure.reason is Reason.ABSENT:
            return replace(facts, failure=None)  # no tool and no card: nothing is wrong
        return replace(facts, cards=facts.cards + _unread(bus, facts.failure))
    # Only NVIDIA's addresses in the report and on the bus are surely of one form.
    known = {card.pci for card in facts.cards}
    vendors = {card.vendor for card in facts.cards}
    missing = [one for one in bus if Known(one.pci) not in known and Known(one.vendor) in vendors]
    lost = Unknown(Reason.LOST, "it is on the bus, and the driver does not list it")
    return replace(facts, cards=facts.cards + _unread(missing, lost))
