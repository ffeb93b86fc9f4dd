from __future__ import annotations

from pathlib import Path

from labctl.fpga.build import Build
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.queue import Expected, Group, JobQueue
from labctl.fpga.selection import Job, Unit


def filled(
    expected: dict[str, Expected] | None = None, **counts: int
) -> tuple[JobQueue, dict[str, Group]]:
    queue, groups, index = JobQueue(expected), {}, 0
    jobs = []
    for name, count in counts.items():
        test = TestCase("m", "t", Path("m.py"), 1)
        unit = Unit(Core(name, Path("c"), "", "t", ()), Variant(), test)
        groups[name] = Group.of(Job(unit, 0), Build(name, Path("x"), "", True))
        for seed in range(count):
            jobs.append((groups[name], index, Job(unit, seed)))
            index += 1
    queue.add(jobs)
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


def test_what_failed_comes_first_then_what_takes_long() -> None:
    expected = {"a:m.t": Expected(False, 9.0), "b:m.t": Expected(True, 0.1)}
    queue, _ = filled(expected, a=1, b=1, c=3)
    taken = [queue.take(None) for _ in range(5)]
    # Of c nothing is known: each of its three runs counts as the others do, 4.55 s, 13.65 s in all.
    assert [one[0].core for one in taken if one] == ["b", "c", "a", "c", "c"]


def test_in_a_group_what_failed_comes_first_then_what_takes_long() -> None:
    core, variant, build = (
        Core("c", Path("c"), "", "t", ()),
        Variant(),
        Build("k", Path("x"), "", True),
    )
    units = [Unit(core, variant, TestCase("m", name, Path("m.py"), 1)) for name in "abcd"]
    expected = {
        "c:m.a": Expected(False, 1.0), "c:m.b": Expected(False, 5.0),
        "c:m.c": Expected(True, 0.5), "c:m.d": Expected(False, 1.0),
    }  # fmt: skip
    queue = JobQueue(expected)
    jobs = [Job(unit, 0) for unit in units]
    queue.add([(Group.of(job, build), index, job) for index, job in enumerate(jobs)])
    order, last = [], None
    while taken := queue.take(last):
        last, index, _ = taken
        order.append(index)
    assert order == [2, 1, 0, 3]
