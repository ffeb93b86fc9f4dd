"""The one rule that says in which state a card is (docs/gpu.md has it in words).

The order of the questions is the rule: a sick card is sick whoever uses it, and what is not known
is never taken for free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.facts.gpu.card import Process, Xid
from labctl.facts.value import Fact, Known, Reason, Unknown
from labctl.gpu.reading import Unit
from labctl.gpu.state import Booking, State

if TYPE_CHECKING:
    from labctl.gpu.slurm import Claim

MIB = 1 << 20

# Memory that no process accounts for, up to which a card counts as empty. Without a display idle
# cards hold 0 to 60 MiB beside what is reserved; a display and its buffers take more; drivers that
# do not tell what is reserved (before 515) count up to 600 MiB of their own as used.
UNEXPLAINED = 128 * MIB
UNEXPLAINED_DISPLAY = 512 * MIB
UNEXPLAINED_OLD_DRIVER = 768 * MIB
# A desktop is no reason to call a card taken, as long as it leaves this much of it.
DESKTOP_SHARE = 0.25
DESKTOP_UTILISATION = 20.0
# Memory held without any work for so long is idle-held.
HELD_AFTER_S = 15 * 60.0
# NVIDIA's Xid catalogue: "GPU has fallen off the bus".
_FALLEN_OFF = 79


@dataclass(frozen=True)
class Verdict:
    """The state of a card, why, and what is worth knowing beside it.

    Attributes:
        person: Who has booked it and can have it.
        claim: What Slurm says of it; None where it is no card of Slurm's.
    """

    state: State
    why: str
    notes: tuple[str, ...] = ()
    person: str = ""
    claim: Claim | None = None


def judge(
    unit: Unit,
    *,
    idle_s: float | None = None,
    booking: Booking | None = None,
    xids: Sequence[Xid] = (),
    claim: Claim | None = None,
) -> Verdict:
    """Return the state of ``unit``.

    Args:
        unit: The card or MIG device.
        idle_s: For how many seconds it has not worked, where history tells.
        booking: The booking that holds now.
        xids: What the kernel logged of its card.
        claim: What Slurm says of it; then nobody's booking counts.
    """
    if claim is not None:
        return _under_slurm(judge(unit, idle_s=idle_s, xids=xids), claim)
    notes = tuple(_notes(unit, xids))
    sick = _sick(unit, xids)
    if sick:
        return Verdict(State.SICK, sick, notes)
    state, why = _use(unit, idle_s)
    if state is State.FREE and booking is not None:
        until = f" until {booking.until}" if booking.until else ""
        why = f"booked by {booking.person}{until}"
        if booking.running:
            return Verdict(State.BOOKED, f"{booking.person} runs a command on it", notes)
        return Verdict(State.BOOKED, why, notes, booking.person)
    if state in (State.BUSY, State.IDLE_HELD) and booking is not None:
        until = f" until {booking.until}" if booking.until else ""
        return Verdict(state, why, (f"booked by {booking.person}{until}", *notes), booking.person)
    return Verdict(state, why, notes)


def _under_slurm(own: Verdict, claim: Claim) -> Verdict:
    """Return the state of a card that Slurm gives away, of which ``own`` is what itself shows."""
    empty = own.state is State.FREE
    state, why, person = own.state, own.why, ""
    notes = list(own.notes)
    if claim.kind == "given":
        # It is taken, also where the card itself cannot say by whom.
        if empty or state is State.UNKNOWN:
            state, why = State.BOOKED, claim.why
        else:
            notes.insert(0, claim.why)
    elif claim.kind in ("closed", "reserved", "unclear"):
        states = {"closed": State.SICK, "reserved": State.BOOKED, "unclear": State.UNKNOWN}
        if empty:
            state, why, person = states[claim.kind], claim.why, claim.user
        else:
            notes.insert(0, claim.why)
    elif state in (State.BUSY, State.IDLE_HELD):
        notes.insert(0, "used outside Slurm, which would give it away")
    return Verdict(state, why, tuple(notes), person, claim)


def _sick(unit: Unit, xids: Sequence[Xid]) -> str:
    card = unit.card
    if card.error is not None and card.error.reason is not Reason.NO_PERMISSION:
        return f"the card does not answer: {card.error}"
    action = card.recovery_action
    if isinstance(action, Known) and action.value.lower() not in ("none", "0"):
        return f"the driver asks for: {action.value}"
    if isinstance(card.reset_required, Known) and card.reset_required.value:
        return "the driver asks for a reset"
    if isinstance(card.remap_failed, Known) and card.remap_failed.value:
        return "a memory row could not be remapped: the card has to be replaced"
    if any(xid.code == _FALLEN_OFF for xid in xids):
        return "Xid 79: the card has fallen off the bus"
    mode = card.compute_mode
    if isinstance(mode, Known) and mode.value.lower() == "prohibited":
        return "compute mode Prohibited: an administrator closed it"
    return ""


def _use(unit: Unit, idle_s: float | None) -> tuple[State, str]:
    card = unit.card
    if card.error is not None:
        return State.UNKNOWN, str(card.error)
    if unit.part is None and isinstance(card.mig, Known) and card.mig.value:
        if isinstance(card.slices, Known):
            return State.UNKNOWN, "MIG is on and no MIG device was made ('nvidia-smi mig -cgi')"
        return State.UNKNOWN, "MIG is on and this reading does not list the MIG devices"
    processes = unit.processes
    if isinstance(processes, Unknown):
        return State.UNKNOWN, _not_known("the processes", processes)
    if unit.strays:
        return State.UNKNOWN, f"process {unit.strays[0].pid} may be on it: no MIG device is named"
    computing = [one for one in processes.value if not _draws_only(one)]
    if computing:
        return _taken(unit, computing, idle_s)
    return _empty(unit, processes.value)


def _taken(unit: Unit, computing: list[Process], idle_s: float | None) -> tuple[State, str]:
    what = f"{len(computing)} processes" if len(computing) > 1 else f"process {computing[0].pid}"
    load = unit.utilisation
    quiet = isinstance(load, Known) and load.value == 0
    if quiet and idle_s is not None and idle_s >= HELD_AFTER_S:
        return State.IDLE_HELD, f"{what}, no work for {idle_s / 60:.0f} min"
    return State.BUSY, f"{what}, no work just now" if quiet else what


def _empty(unit: Unit, drawing: Sequence[Process]) -> tuple[State, str]:
    """Return the state of a unit without a process that computes."""
    used = unit.memory_used
    if isinstance(used, Unknown):
        return State.UNKNOWN, _not_known("the memory in use", used)
    sharers = unit.sharers
    seen = sharers.value if isinstance(sharers, Known) else ()
    if any(isinstance(one.memory, Unknown) for one in seen):
        explained = used.value  # somebody has it, as much as there is
    else:
        explained = sum(one.memory.value for one in seen if isinstance(one.memory, Known))
    unexplained = used.value - explained
    if unexplained > _allowance(unit, bool(drawing)):
        return State.GHOST, f"{unexplained / MIB:.0f} MiB held by no visible process"
    load = unit.utilisation
    whole = unit.memory_total
    if drawing:
        share = used.value / whole.value if isinstance(whole, Known) and whole.value else 1.0
        working = isinstance(load, Known) and load.value > DESKTOP_UTILISATION
        if share > DESKTOP_SHARE or working:
            return State.BUSY, "a desktop that takes much of it"
        return State.FREE, "a desktop is shown on it"
    return State.FREE, ""


def _allowance(unit: Unit, drawing: bool) -> int:
    display = unit.card.display
    if isinstance(unit.memory_reserved, Unknown):
        allowed = UNEXPLAINED_OLD_DRIVER
    elif drawing or (isinstance(display, Known) and display.value and unit.part is None):
        allowed = UNEXPLAINED_DISPLAY
    else:
        allowed = UNEXPLAINED
    whole = unit.memory_total
    return min(allowed, whole.value // 4) if isinstance(whole, Known) else allowed


def _draws_only(process: Process) -> bool:
    return isinstance(process.kind, Known) and process.kind.value.upper() == "G"


def _not_known(what: str, fact: Unknown) -> str:
    if fact.reason is Reason.ABSENT:
        return f"{what}: not in this reading"
    return f"{what}: {fact}"


def _on(fact: Fact[bool]) -> bool:
    return isinstance(fact, Known) and fact.value


def _notes(unit: Unit, xids: Sequence[Xid]) -> list[str]:
    card = unit.card
    notes = []
    if _on(card.remap_pending):
        notes.append("a memory row waits to be remapped: reset the card when it is empty")
    if _on(card.retire_pending):
        notes.append("memory pages wait to be retired: reset the card when it is empty")
    slowed = [
        reason
        for reason in (card.throttle.value if isinstance(card.throttle, Known) else ())
        if "hw_" in reason or "thermal" in reason
    ]
    if slowed:
        notes.append("slowed down: " + ", ".join(slowed))
    if isinstance(card.ecc_uncorrected, Known) and card.ecc_uncorrected.value:
        notes.append(f"{card.ecc_uncorrected.value} uncorrected memory errors since start")
    if (
        isinstance(card.links_down, Known)
        and card.links_down.value
        and card.links_active != Known(0)
    ):
        notes.append(f"{card.links_down.value} NVLinks are down")
    if isinstance(card.link_recoveries, Known) and card.link_recoveries.value:
        notes.append(f"NVLinks had to be trained anew {card.link_recoveries.value} x")
    counts: dict[int, int] = {}
    for xid in xids:
        counts[xid.code] = counts.get(xid.code, 0) + 1
    notes += [f"Xid {code} logged {number} x" for code, number in counts.items()]
    return notes
