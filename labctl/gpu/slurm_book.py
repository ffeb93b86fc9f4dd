"""Book cards of Slurm: a reservation of the whole node, which is what Slurm has, where it lets us.

A reservation of Slurm keeps others out, unlike a booking of labctl's. Making one takes an operator
of Slurm or root (scontrol(1), "reservations").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.errors import LabctlError, UsageError
from labctl.gpu.show import Line
from labctl.report.sanitize import clean_line
from labctl.transport.ask import ask
from labctl.transport.machines import Machines
from labctl.transport.script import quote, record
from labctl.transport.ssh import Access

# How a booking that is a reservation is told from others in the file of bookings.
_NOTE = re.compile(r"Slurm reservation (\S+)")
_DENIED = ("Access/permission denied", "Invalid user id")
_DEADLINE_S = 40.0


@dataclass(frozen=True)
class Reserved:
    """A node that is to be reserved, with all its cards.

    Attributes:
        host: Its name in the inventory.
        node: Its name in Slurm.
        name: Of the reservation.
    """

    host: str
    node: str
    name: str

    @property
    def note(self) -> str:
        """What is kept of it in the file of bookings."""
        return f"Slurm reservation {self.name}"


def whole_nodes(wanted: Sequence[Line], lines: Sequence[Line], *, person: str) -> list[Reserved]:
    """Return the nodes that ``wanted`` are, those of them that are Slurm's.

    Args:
        wanted: The cards to book.
        lines: All cards of their machines.
        person: For whom.

    Raises:
        UsageError: Not all cards of a node are wanted, or Slurm says nothing of them.
    """
    found: dict[tuple[str, str], Reserved] = {}
    for line in wanted:
        claim, host = line.verdict.claim, line.reading.host
        if claim is None:
            continue
        if not claim.node:
            raise UsageError(claim.why, thing=f"{host}:{line.unit.name}")
        whole = [
            one
            for one in lines
            if one.reading is line.reading and one.verdict.claim is not None
            and one.verdict.claim.node == claim.node
        ]  # fmt: skip
        if any(one not in wanted for one in whole):
            cards = " ".join(f"{host}:{one.unit.name}" for one in whole)
            raise UsageError(
                "this card is Slurm's, and Slurm reserves whole nodes",
                thing=f"{host}:{line.unit.name}",
                action=f"name all its cards ({cards}), or queue for it: 'labctl gpu run'",
            )
        name = re.sub(r"\W", "_", f"labctl_{person}_{claim.node}")
        found[host, claim.node] = Reserved(host, claim.node, name)
    return list(found.values())


def reserve(
    what: Reserved, machines: Machines, *, person: str, seconds: int, access: Access
) -> None:
    """Make the reservation, or let it last from now on if it is there.

    Raises:
        LabctlError: Slurm refuses; the action is what its administrator can type.
    """
    words = [
        "scontrol", "create", "reservation", f"ReservationName={what.name}",
        f"Nodes={what.node}", f"Users={person}", "StartTime=now", f"Duration={-(-seconds // 60)}",
    ]  # fmt: skip
    until = f"EndTime=now+{-(-seconds // 60)}minutes"
    again = f"$s scontrol update ReservationName={quote(what.name)} {until} >/dev/null 2>&1"
    _scontrol(what, machines, words, otherwise=again, access=access)


def unreserve(what: Reserved, machines: Machines, *, access: Access) -> None:
    """End the reservation; one that has ended already is no error.

    Raises:
        LabctlError: Slurm refuses.
    """
    words = ["scontrol", "delete", f"ReservationName={what.name}"]
    _scontrol(what, machines, words, otherwise=_GONE.format(name=quote(what.name)), access=access)


# Succeeds where there is no such reservation.
_GONE = "! scontrol -o show reservation {name} >/dev/null 2>&1"


def reservation_of(note: str, host: str) -> Reserved | None:
    """Return the reservation that a booking with ``note`` is, or None if it is a plain booking."""
    match = _NOTE.fullmatch(note)
    return Reserved(host, "", match.group(1)) if match else None


def _scontrol(
    what: Reserved, machines: Machines, words: list[str], *, otherwise: str, access: Access
) -> None:
    line = " ".join(quote(word) for word in words)
    sudo = any(host.sudo for host in machines.hosts)
    head = 'if [ "$(id -u)" != 0 ] && sudo -n true; then s="sudo -n"; fi\n' if sudo else ""
    # A client without a right or a configuration tries for a minute.
    text = f"s=\n{head}said=$($s timeout 20 {line} 2>&1) || {otherwise} || "
    text += '{ echo "$said"; exit 1; }\n'
    (answer,) = ask(machines, lambda _: record("reserve", text), access=access,
                    deadline=_DEADLINE_S)  # fmt: skip
    if answer.error is not None:
        raise answer.error
    done = answer.records["reserve"]
    if done.status == 0:
        return
    said = [one for one in done.output.splitlines() if one.strip()] or ["it said nothing"]
    cause = clean_line(said[-1], limit=160)
    denied = any(word in done.output for word in _DENIED)
    action = f"ask who runs Slurm for: {line}" if denied else "see 'scontrol show reservation'"
    raise LabctlError(f"Slurm refuses: {cause}", thing=what.host, action=action)
