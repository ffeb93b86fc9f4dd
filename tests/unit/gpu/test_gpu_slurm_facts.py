"""What Slurm says, and what it means for a card."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.facts.gpu.card import GpuFacts, make_card
from labctl.facts.gpu.hostlist import expand
from labctl.facts.gpu.slurm import Node, Reservation, SlurmFacts, SlurmJob, parse
from labctl.facts.value import Known, Reason, Unknown
from labctl.gpu.choose import Wish
from labctl.gpu.reading import Reading, units
from labctl.gpu.rule import State, judge
from labctl.gpu.show import Line
from labctl.gpu.slurm import Claim, claim
from labctl.gpu.slurm_run import order

# As Slurm 22.05 printed it, cut where it does not matter here; the name of the job was chosen to
# look like what Slurm says.
SAID = """\
H g1
N NodeName=g1 Arch=x86_64 CPUAlloc=1 Gres=gpu:a100:2(S:0-1) GresDrain=N/A GresUsed=gpu:a100:1 \
State=MIXED+DRAIN ThreadsPerCore=1 Partitions=lab Reason=bad fan [root@2026-11-25T13:17:39]
Q 7|ann|RUNNING|2026-11-25T13:32:12|2026-11-26T13:32:12|a b|c UserId=x(1) Nodes=g1 CPU_IDs=0 Mem=0 \
GRES=gpu:1(IDX:0)
J JobId=7 JobName=a b|c UserId=x(1) Nodes=g1 CPU_IDs=0 Mem=0 GRES=gpu:1(IDX:0) UserId=ann(1001) \
JobState=RUNNING JOB_GRES=gpu:1   Nodes=g1 CPU_IDs=0 Mem=0 GRES=gpu:a100:1(IDX:1) MinCPUsNode=1 \
Comment=Nodes=g1 CPU_IDs=0 Mem=0 GRES=gpu:1(IDX:0)
R ReservationName=paper StartTime=2026-11-25T13:16:40 EndTime=2026-11-25T14:16:40 Nodes=g[1-2] \
Flags=MAINT,SPEC_NODES Users=ann,bob Groups=(null) State=ACTIVE
R ReservationName=later Nodes=g1 Users=ann State=INACTIVE
R ReservationName=elsewhere Nodes=n1 Users=ann State=ACTIVE
A g[1-2],n1
G # cards
G NodeName=g[1-2] Name=gpu Type=a100 File=/dev/nvidia[0-1]
G Name=nic File=/dev/other
.
"""


def test_what_slurm_says_is_read() -> None:
    found = parse(SAID)
    assert found is not None
    assert found.failure is None
    files = ("/dev/nvidia0", "/dev/nvidia1")
    reason = "bad fan [root@2026-11-25T13:17:39]"
    assert found.nodes == (Node("g1", ("MIXED", "DRAIN"), reason, 2, files, 1),)
    (job,) = found.jobs
    assert (job.id, job.user, job.state, job.ends) == ("7", "ann", "RUNNING", "2026-11-26T13:32:12")
    assert (dict(job.gpus), dict(job.indices)) == ({"g1": 1}, {"g1": (1,)})
    assert [one.name for one in found.reservations] == ["paper"]
    assert found.reservations[0].users == ("ann", "bob")
    assert found.everything == ("g1", "g2", "n1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("H g1\nE slurm_load_node error: Unable to contact slurm controller\n", Reason.LOST),
        ("H g1\n", Reason.TIMED_OUT),
        (SAID.replace("\n.\n", "\n"), Reason.TIMED_OUT),
    ],
)
def test_an_answer_that_is_not_whole_says_so(text: str, reason: Reason) -> None:
    found = parse(text)
    assert found is not None
    assert found.failure is not None
    assert found.failure.reason is reason


def test_a_machine_that_is_no_node_is_not_under_slurm() -> None:
    assert parse("") is None
    assert parse("\n") is None


@settings(deadline=None)
@given(st.text(alphabet="HNQJRAGE. gpu:()IDX[]-,|=0123\nJobIdNodesMem", max_size=200))
def test_nothing_that_is_said_breaks_the_reading(text: str) -> None:
    parse(f"H g1\n{text}")


@pytest.mark.parametrize(
    ("gres", "count", "indices"),
    [
        ("gpu:1", 1, None),
        ("gpu:2(IDX:0-1)", 2, (0, 1)),
        ("gpu:a100:3(IDX:0,2-3)", 3, (0, 2, 3)),
        ("gpu:a100:1(IDX:0),gpu:v100:2(IDX:4-5)", 3, (0, 4, 5)),
        ("gpu:3g.20gb:1(IDX:2)", 1, (2,)),
        ("shard:1(0/4)", None, None),
        ("", None, None),
    ],
)
def test_forms_of_what_is_given(
    gres: str, count: int | None, indices: tuple[int, ...] | None
) -> None:
    text = "H g1\nN NodeName=g1 State=IDLE\nQ 7|ann|RUNNING|x|NONE|n\n"
    text += "J JobId=7 JobName=n UserId=ann(1) Nodes=g1 CPU_IDs=0-3 Mem=0 "
    text += f"GRES={gres} MinCPUsNode=1\n.\n"
    found = parse(text)
    assert found is not None
    (job,) = found.jobs
    assert job.gpus.get("g1") == count
    assert job.indices.get("g1") == indices


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("g1", ["g1"]),
        ("g[1-3,07],login", ["g1", "g2", "g3", "g07", "login"]),
        ("r[1-2]n[09-10]x", ["r1n09x", "r1n10x", "r2n09x", "r2n10x"]),
        ("", []),
    ],
)
def test_lists_of_hosts(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize("text", ["g[1", "g1]", "g[[1]]", "g[a-b]", "g[1-]"])
def test_what_is_no_list_of_hosts(text: str) -> None:
    with pytest.raises(ValueError, match=r"brackets|range"):
        expand(text)


@settings(deadline=None)
@given(st.text(alphabet="g[]-,0129", max_size=40))
def test_a_list_of_hosts_is_expanded_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all("[" not in name for name in expand(text))


def test_a_list_without_end_ends() -> None:
    assert len(expand("g[0-9999]n[0-9999]x[0-9999]")) == 100_000


GIVEN = SlurmJob("7", "ann", "train", "RUNNING", "", {"g1": 1}, {"g1": (1,)})
FILES = ("/dev/nvidia0", "/dev/nvidia1")


def reading(node: Node, *jobs: SlurmJob, count: int = 2, **more: object) -> Reading:
    facts = {
        "memory_total": Known(1 << 36), "memory_reserved": Known(0), "memory_used": Known(0),
        "processes": Known(()), "utilisation": Known(0.0), "mig": Known(False),
    }  # fmt: skip
    cards = tuple(
        make_card({**facts, "index": Known(at), "minor": Known(at), "uuid": Known(f"GPU-{at}")})
        for at in range(count)
    )
    slurm = replace(SlurmFacts((node,), jobs), **more)  # type: ignore[arg-type]
    return Reading("gpu1", GpuFacts("x", cards=cards), slurm=slurm)


def claims(one: Reading, person: str = "") -> list[Claim | None]:
    assert one.facts is not None
    return [claim(one, unit, person=person) for card in one.facts.cards for unit in units(card)]


def kinds(one: Reading, person: str = "") -> list[str]:
    return [found.kind if found else "-" for found in claims(one, person)]


IDLE = Node("g1", ("IDLE",), "", 2, FILES, 0)
PAPER = Reservation("paper", ("g1",), ("ann",), "2026-11-25T14:16:40")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (reading(IDLE), ["free", "free"]),
        (reading(replace(IDLE, used=1), GIVEN), ["free", "given"]),
        # By the device file and not by the position: Slurm counts from another end.
        (reading(replace(IDLE, files=FILES[::-1], used=1), GIVEN), ["given", "free"]),
        # No files are told: positions; a count that is another one tells nothing.
        (reading(replace(IDLE, files=(), used=1), GIVEN), ["free", "given"]),
        (reading(replace(IDLE, files=(), used=1), GIVEN, count=3), ["unclear"] * 3),
        # A third card that gres.conf does not name is not Slurm's.
        (reading(IDLE, count=3), ["free", "free", "-"]),
        # Jobs of others are not shown, or it is not said which cards they have.
        (reading(replace(IDLE, used=1)), ["unclear", "unclear"]),
        (reading(replace(IDLE, used=2)), ["given", "given"]),
        (reading(replace(IDLE, used=1), replace(GIVEN, indices={})), ["unclear", "unclear"]),
        (reading(replace(IDLE, states=("MIXED", "DRAIN"))), ["closed", "closed"]),
        (reading(replace(IDLE, states=("DOWN",))), ["closed", "closed"]),
        (reading(IDLE, reservations=(PAPER,)), ["reserved", "reserved"]),
        (reading(IDLE, failure=Unknown(Reason.LOST, "no controller")), ["unclear", "unclear"]),
        (replace(reading(IDLE), slurm=None), ["-", "-"]),
    ],
)
def test_what_slurm_means_for_each_card(one: Reading, expected: list[str]) -> None:
    assert kinds(one) == expected


def verdict(kind: str, one: Reading, **changes: object) -> State:
    assert one.facts is not None
    (unit,) = units(replace(one.facts.cards[0], **changes))  # type: ignore[arg-type]
    return judge(unit, claim=Claim(kind, "why", node="g1")).state


@pytest.mark.parametrize(
    ("kind", "empty", "unknown"),
    [
        ("free", State.FREE, State.UNKNOWN),
        ("given", State.BOOKED, State.BOOKED),
        ("closed", State.SICK, State.UNKNOWN),
        ("reserved", State.BOOKED, State.UNKNOWN),
        ("unclear", State.UNKNOWN, State.UNKNOWN),
    ],
)
def test_slurm_is_never_more_generous_than_the_card(
    kind: str, empty: State, unknown: State
) -> None:
    one = reading(IDLE)
    assert verdict(kind, one) is empty
    assert verdict(kind, one, processes=Unknown(Reason.TIMED_OUT)) is unknown
    assert verdict(kind, one, error=Unknown(Reason.LOST)) is State.SICK
    assert verdict(kind, one, memory_used=Known(1 << 35)) is State.GHOST


def test_a_reservation_is_no_hindrance_for_whom_it_is() -> None:
    one = reading(IDLE, reservations=(PAPER,))
    assert [found.user for found in claims(one, "ann") if found] == ["ann", "ann"]
    assert [found.user for found in claims(one, "bob") if found] == ["", ""]


def lines(*some: Reading) -> list[Line]:
    return [
        Line(one, unit, judge(unit, claim=claim(one, unit)))
        for one in some
        if one.facts is not None
        for card in one.facts.cards
        for unit in units(card)
    ]


def other(name: str, host: str, *jobs: SlurmJob) -> Reading:
    moved = [replace(job, gpus={name: 1}, indices={name: (1,)}) for job in jobs]
    names = ("g1", "g2", "g3")
    found = reading(replace(IDLE, name=name, used=len(jobs)), *moved, everything=names)
    return replace(found, host=host)


@pytest.mark.parametrize(
    ("wish", "named", "where"),
    [
        (Wish(2), False, []),
        (Wish(2), True, ["--exclude=g3"]),
        (Wish(1, memory=1 << 30), False, ["--exclude=g3"]),
    ],
)
def test_slurm_chooses_among_the_nodes_that_will_do(
    wish: Wish, named: bool, where: list[str]
) -> None:
    some = lines(other("g1", "one", GIVEN), other("g2", "two"))
    found = order(some, wish, ["cmd", "-x"], patience_s=60, named=named)
    assert found is not None
    # Asked where cards are free, if there is such a place.
    assert found.host == ("two" if wish.count == 2 else "one")
    assert [word for word in found.command if word.startswith(("--excl", "--nodel"))] == where
    assert f"--gres=gpu:{wish.count}" in found.command
    assert found.command[-2:] == ("cmd", "-x")


def test_one_node_alone_is_named_and_none_is_none() -> None:
    some = lines(other("g1", "one", GIVEN))
    found = order(some, Wish(2), ["cmd"], patience_s=60, named=True)
    assert found is not None
    assert "--nodelist=g1" in found.command
    assert order(some, Wish(3), ["cmd"], patience_s=60, named=True) is None
    assert order(some, Wish(1, memory=1 << 40), ["cmd"], patience_s=60, named=True) is None
