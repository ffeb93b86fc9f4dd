"""The availability rule: one card, one state, and unknown is never free."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.facts.gpu.card import Card, Process, Slice, Xid, make_card
from labctl.facts.value import Known, Reason, Unknown, absent
from labctl.gpu.reading import Unit, units
from labctl.gpu.rule import judge
from labctl.gpu.state import Booking, State

MIB = 1 << 20
GIB = 1 << 30

EMPTY: dict[str, Any] = {
    "index": Known(0),
    "memory_total": Known(80 * GIB),
    "memory_reserved": Known(500 * MIB),
    "memory_used": Known(4 * MIB),
    "utilisation": Known(0.0),
    "processes": Known(()),
    "mig": Known(False),
}
LOST = Unknown(Reason.LOST, "GPU is lost")


def card(**changes: Any) -> Card:
    return make_card({**EMPTY, **changes})


def process(pid: int = 7, memory: int | None = 1000 * MIB, kind: str = "C", **more: Any) -> Process:
    used = absent() if memory is None else Known(memory)
    return Process(pid, name=Known("python"), kind=Known(kind), memory=used, **more)


def on(*processes: Process) -> Known[tuple[Process, ...]]:
    return Known(processes)


CASES = [
    ("nothing on it", {}, "free"),
    ("a process", {"processes": on(process()), "memory_used": Known(1004 * MIB)}, "busy"),
    ("a process of unknown size", {"processes": on(process(memory=None)),
                                   "memory_used": Known(GIB)}, "busy"),
    ("memory and nobody", {"memory_used": Known(9 * GIB)}, "ghost"),
    ("memory and nobody at work", {"memory_used": Known(9 * GIB), "utilisation": Known(65.0)},
     "ghost"),
    ("a little more than is reserved", {"memory_used": Known(100 * MIB)}, "free"),
    ("just more than may be", {"memory_used": Known(129 * MIB)}, "ghost"),
    ("an old driver's own memory", {"memory_reserved": absent(), "memory_used": Known(450 * MIB)},
     "free"),
    ("more on an old driver", {"memory_reserved": absent(), "memory_used": Known(900 * MIB)},
     "ghost"),
    ("a small card's quarter", {"memory_total": Known(GIB), "memory_reserved": absent(),
                                "memory_used": Known(300 * MIB)}, "ghost"),
    ("a desktop", {"processes": on(process(kind="G", memory=180 * MIB)),
                   "memory_used": Known(220 * MIB)}, "free"),
    ("a desktop beside a computation", {"processes": on(process(kind="G"), process(8)),
                                        "memory_used": Known(2 * GIB)}, "busy"),
    ("a desktop that takes half of it", {"processes": on(process(kind="G", memory=40 * GIB)),
                                         "memory_used": Known(40 * GIB)}, "busy"),
    ("a desktop at work", {"processes": on(process(kind="G")), "memory_used": Known(GIB),
                           "utilisation": Known(90.0)}, "busy"),
    ("draws and computes", {"processes": on(process(kind="C+G"))}, "busy"),
    ("no list of processes", {"processes": absent()}, "unknown"),
    ("processes not told", {"processes": Unknown(Reason.NO_PERMISSION)}, "unknown"),
    ("memory not told", {"memory_used": Unknown(Reason.NOT_SUPPORTED)}, "unknown"),
    ("lost", {"error": LOST}, "sick"),
    ("lost while used", {"error": LOST, "processes": on(process())}, "sick"),
    ("not for us", {"error": Unknown(Reason.NO_PERMISSION)}, "unknown"),
    ("a reset is asked for", {"recovery_action": Known("Reset")}, "sick"),
    ("nothing is asked for", {"recovery_action": Known("None")}, "free"),
    ("not known what is asked for", {"recovery_action": absent()}, "free"),
    ("an older driver asks for a reset", {"reset_required": Known(True)}, "sick"),
    ("remapping failed", {"remap_failed": Known(True)}, "sick"),
    ("remapping waits", {"remap_pending": Known(True)}, "free"),
    ("closed", {"compute_mode": Known("Prohibited")}, "sick"),
    ("MIG with no devices", {"mig": Known(True), "slices": Known(())}, "unknown"),
    ("MIG with devices not listed", {"mig": Known(True), "slices": absent()}, "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "state"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_state(changes: dict[str, Any], state: str) -> None:
    verdict = judge(Unit(card(**changes)))
    assert verdict.state == state
    assert verdict.why or state == "free"


def test_idle_held_needs_history() -> None:
    held = Unit(card(processes=on(process()), memory_used=Known(1004 * MIB)))
    assert judge(held).state is State.BUSY
    assert judge(held, idle_s=10 * 60).state is State.BUSY
    assert judge(held, idle_s=20 * 60).state is State.IDLE_HELD
    working = Unit(card(processes=on(process()), utilisation=Known(3.0)))
    assert judge(working, idle_s=20 * 60).state is State.BUSY


def test_a_booking_takes_a_free_card_and_no_other() -> None:
    booking = Booking("ann", "18:00")
    assert judge(Unit(card()), booking=booking).why == "booked by ann until 18:00"
    assert judge(Unit(card(error=LOST)), booking=booking).state is State.SICK
    assert judge(Unit(card(processes=on(process()))), booking=booking).state is State.BUSY
    assert judge(Unit(card(processes=absent())), booking=booking).state is State.UNKNOWN


def test_what_the_kernel_logged() -> None:
    xid = Xid(13, "0000:01:00.0")
    verdict = judge(Unit(card()), xids=[xid, xid])
    assert (verdict.state, verdict.notes) == (State.FREE, ("Xid 13 logged 2 x",))
    assert judge(Unit(card()), xids=[Xid(79, "0000:01:00.0")]).state is State.SICK


def part(index: int, gi: int, ci: int = 0, used: int = 20 * MIB) -> Slice:
    return Slice(index=Known(index), gpu_instance=Known(gi), compute_instance=Known(ci),
                 memory_total=Known(20 * GIB), memory_reserved=Known(0),
                 memory_used=Known(used))  # fmt: skip


def states(**changes: Any) -> dict[str, str]:
    return {unit.name: judge(unit).state for unit in units(card(mig=Known(True), **changes))}


def test_mig_devices_are_cards_of_their_own() -> None:
    runs = process(gpu_instance=Known(2), compute_instance=Known(1), memory=5 * GIB)
    assert states(
        slices=Known((part(0, 2, 0, 5 * GIB), part(1, 2, 1, 5 * GIB), part(2, 3), part(3, 9))),
        processes=on(runs),
    ) == {"0:0": "free", "0:1": "busy", "0:2": "free", "0:3": "free"}


def test_a_ghost_on_a_mig_device() -> None:
    found = states(slices=Known((part(0, 2, 0, 5 * GIB), part(1, 3))), processes=on())
    assert found == {"0:0": "ghost", "0:1": "free"}


def test_a_process_on_no_known_mig_device_makes_all_unknown() -> None:
    found = states(slices=Known((part(0, 2), part(1, 3))), processes=on(process()))
    assert found == {"0:0": "unknown", "0:1": "unknown"}


def test_a_sick_card_makes_its_mig_devices_sick() -> None:
    found = states(slices=Known((part(0, 2),)), recovery_action=Known("Drain and Reset"))
    assert found == {"0:0": "sick"}


facts = st.one_of(
    st.sampled_from(list(Reason)).map(lambda why: Unknown(why, "x")),
    st.integers(0, 100 * GIB).map(Known),
)


@given(
    used=facts,
    total=facts,
    reserved=facts,
    processes=st.one_of(
        st.sampled_from(list(Reason)).map(lambda why: Unknown(why, "x")),
        st.lists(st.builds(process, kind=st.sampled_from(["C", "G", "C+G", "?"])), max_size=3).map(
            lambda found: Known(tuple(found))
        ),
    ),
    error=st.one_of(st.none(), st.just(LOST)),
)
def test_free_is_only_what_is_known_to_be_empty(
    used: Any, total: Any, reserved: Any, processes: Any, error: Any
) -> None:
    verdict = judge(
        Unit(
            card(memory_used=used, memory_total=total, memory_reserved=reserved,
                 processes=processes, error=error)
        )
    )  # fmt: skip
    if verdict.state is State.FREE:
        assert isinstance(used, Known)
        assert isinstance(processes, Known)
        assert error is None
        assert all(one.kind == Known("G") for one in processes.value)
