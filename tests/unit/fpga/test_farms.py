"""Groups of runs on a farm: how they are cut, that each ends, and what is done of what is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.fpga.build import Build
from labctl.fpga.engines.base import Ended, Task
from labctl.fpga.engines.triage import Hang
from labctl.fpga.engines.watch import Cancelled
from labctl.fpga.farms import collect, groups
from labctl.fpga.farms.collect import cut, run_on_farm
from labctl.fpga.farms.groups import Line, LogReader
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.selection import Job, Unit
from labctl.fpga.toolchain import Toolchain

TOOLS = Toolchain()


def task(folder: Path, index: int) -> Task:
    unit = Unit(Core("c", Path("c"), "", "t", ()), Variant(), TestCase("m", "t", Path("m.py"), 1))
    return Task(Job(unit, index), Build("k", Path("x"), "", True), folder / str(index))


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 50))
def test_a_cut_keeps_all_in_order_and_mixes_nothing(sizes: list[int], slots: int) -> None:
    index, some = 0, []
    for size in sizes:
        some.append([(number, task(Path(), number)) for number in range(index, index + size)])
        index += size
    pieces = cut(some, slots)
    assert [number for piece in pieces for number, _ in piece] == list(range(index))
    assert all(pieces)
    for piece in pieces:
        assert any({one for one, _ in piece} <= {one for one, _ in whole} for whole in some)
    assert len(pieces) <= 3 * slots + len(sizes)


class Elements:
    """A farm without machines: `play` is what an element does with its group."""

    def __init__(self, folder: Path, play: Callable[[Path, int, str], bool]) -> None:
        self.folder = folder
        self.play = play
        self.alive: set[str] = set()
        self.closed: list[bool] = []
        self.submitted = 0

    def slots(self) -> int:
        return 2

    def submit(self, numbers: range) -> None:
        self.submitted += len(numbers)
        for number in numbers:
            name = f"e{number}"
            if self.play(self.folder, number, name):
                self.alive.add(name)

    def living(self) -> frozenset[str]:
        return frozenset(self.alive)

    def why(self, name: str) -> str:
        return f"{name} is gone"

    def close(self, *, cancel: bool) -> None:
        self.closed.append(cancel)


def works(folder: Path, number: int, name: str) -> bool:
    groups.take(folder, number, name, "node")
    for index, _ in groups.read_group(folder, number).tasks:
        groups.tell(folder, number, Line(index, Ended(0, 1.0)))
    return False


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK_S", "_ASK_FIRST_S", "_ASK_S", "_LATE_S"):
        monkeypatch.setattr(collect, name, 0.0)


def play(
    folder: Path, count: int, how: Callable[[Path, int, str], bool]
) -> tuple[dict[int, Ended], list[int], Elements]:
    made: list[Elements] = []
    ended: dict[int, Ended] = {}
    renewed: list[int] = []

    def make(place: Path) -> Elements:
        made.append(Elements(place, how))
        return made[0]

    tasks = [[(index, task(folder, index)) for index in range(count)]]
    run_on_farm(
        make, TOOLS, tasks, folder, renew=renewed.append, on_ended=ended.__setitem__,
        cancel=threading.Event(),
    )  # fmt: skip
    return ended, renewed, made[0]


def test_each_task_ends_once(tmp_path: Path) -> None:
    ended, renewed, farm = play(tmp_path, 20, works)
    assert ended == dict.fromkeys(range(20), Ended(0, 1.0))
    assert (renewed, farm.closed) == ([], [False])


def test_what_an_element_had_not_done_is_done_by_another(tmp_path: Path) -> None:
    def dies_once(folder: Path, number: int, name: str) -> bool:
        if number != 0:
            return works(folder, number, name)
        groups.take(folder, number, name, "node")
        groups.tell(folder, number, Line(0, Ended(0, 1.0)))
        return False

    ended, renewed, farm = play(tmp_path, 24, dies_once)
    assert ended == dict.fromkeys(range(24), Ended(0, 1.0))
    assert renewed == [1, 2, 3]
    # The one that was in flight goes by itself, as it may be to blame.
    assert farm.submitted == 6 + 2


def test_a_task_that_takes_its_machine_along_is_given_up_and_the_others_are_not(
    tmp_path: Path,
) -> None:
    def falls_over_five(folder: Path, number: int, name: str) -> bool:
        groups.take(folder, number, name, "node7")
        for index, _ in groups.read_group(folder, number).tasks:
            if index == 5:
                return False
            groups.tell(folder, number, Line(index, Ended(0, 1.0)))
        return False

    ended, _, _ = play(tmp_path, 24, falls_over_five)
    hang = ended.pop(5).hang
    assert hang is not None
    assert hang.kind == "lost"
    assert "what ran it has gone on node7, 3 times: e" in hang.text
    assert ended == {index: Ended(0, 1.0) for index in range(24) if index != 5}


def test_elements_that_never_start_are_given_up(tmp_path: Path) -> None:
    ended, _, farm = play(tmp_path, 4, lambda folder, number, name: False)
    assert {one.hang.text for one in ended.values() if one.hang} == {
        f"it could not be started, 3 times: {number} is gone" for number in range(8, 12)
    }
    assert (len(ended), farm.closed) == (4, [False])


def test_a_group_that_was_given_up_is_taken_by_no_late_element(tmp_path: Path) -> None:
    late: list[bool] = []

    def never_in_time(folder: Path, number: int, name: str) -> bool:
        if number < 4:
            return False
        late.extend(groups.take(folder, old, "late", "node") for old in range(4))
        return works(folder, number, name)

    ended, _, _ = play(tmp_path, 4, never_in_time)
    assert ended == dict.fromkeys(range(4), Ended(0, 1.0))
    assert late
    assert not any(late)


def test_elements_are_told_when_all_has_ended(tmp_path: Path) -> None:
    play(tmp_path, 4, works)
    groups.begin(tmp_path, "taken for lost")
    assert not groups.wanted(tmp_path, "taken for lost")


def test_one_that_is_cancelled_tells_the_elements(tmp_path: Path) -> None:
    cancel = threading.Event()
    made: list[Elements] = []

    def waits(folder: Path, number: int, name: str) -> bool:
        cancel.set()
        return True

    def make(place: Path) -> Elements:
        made.append(Elements(place, waits))
        return made[0]

    with pytest.raises(Cancelled):
        run_on_farm(
            make, TOOLS, [[(0, task(tmp_path, 0))]], tmp_path, renew=lambda index: None,
            on_ended=lambda index, how: None, cancel=cancel,
        )  # fmt: skip
    assert made[0].closed == [True]
    groups.begin(tmp_path, "late")
    assert not groups.wanted(tmp_path, "late")


def test_a_log_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    assert groups.take(tmp_path, 1, "me", "node")
    assert not groups.take(tmp_path, 1, "other", "node")
    hung = Ended(-9, 2.5, Hang("python", "it loops"), "a note")
    groups.tell(tmp_path, 1, Line(4, hung))
    path = groups.log_file(tmp_path, 1)
    whole = path.read_bytes()
    reader, found = LogReader(path), []
    for end in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        found += reader.new_lines()
    path.write_bytes(whole)
    found += reader.new_lines()
    assert found == [Line(4, hung)]
    assert (reader.by, reader.node) == ("me", "node")


def test_an_element_ends_when_nobody_waits_for_it(tmp_path: Path) -> None:
    groups.touch_alive(tmp_path)
    assert groups.begin(tmp_path, "e1")
    assert not groups.begin(tmp_path, "e1")  # started again by the scheduler
    assert groups.wanted(tmp_path, "e1")
    own = (tmp_path / "started-e1").stat().st_mtime
    os.utime(tmp_path / "alive", (own - groups.SILENT_S - 1, own - groups.SILENT_S - 1))
    assert not groups.wanted(tmp_path, "e1")
    (tmp_path / "alive").unlink()
    assert not groups.wanted(tmp_path, "e1")
