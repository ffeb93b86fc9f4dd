from __future__ import annotations

from pathlib import Path

from labctl.fpga.build import Build
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.queue import Group, JobQueue
from labctl.fpga.selection import Job, Unit


def filled(**counts: int) -> tuple[JobQueue, dict[str, Group]]:
    queue, groups, index = JobQueue(), {}, 0
    for name, count in counts.items():
        test = TestCase("m", "t", Path("m.py"), 1)
        unit = Unit(Core(name, Path("c"), "", "t", ()), Variant(), test)
        groups[name] = Group.of(Job(unit, 0), Build(name, Path("x"), "", True))
        for seed in range(count):
            queue.add(groups[name], index, Job(unit, seed))
            index += 1
    return queue, groups


def test_every_job_is_taken_once() -> None:
    queue, _ = filled(a=3, b=5, c=1)
    last: list[Group | None] = [None, None]
    seen = []
    while any(
        taken := [queue.take(one) for one in last],
    ):
        for at, one in enumerate(taken):
            if one is not None:
                last[at] = one[0]
                seen.append(one[1])
    assert sorted(seen) == list(range(9))


def test_a_worker_stays_and_another_begins_elsewhere() -> None:
    queue, groups = filled(a=3, b=5)
    first = queue.take(None)
    assert first
    assert first[0] == groups["b"]  # the longest first
    second = queue.take(None)
    assert second
    assert second[0] == groups["a"]
    again = queue.take(first[0])
    assert again
    assert again[0] == groups["b"]


def test_one_that_has_done_its_group_helps_with_the_rest() -> None:
    queue, groups = filled(a=1, b=3)
    one, other = queue.take(None), queue.take(None)
    assert one
    assert other
    assert other[0] == groups["a"]
    helped = queue.take(other[0])
    assert helped
    assert helped[0] == groups["b"]
