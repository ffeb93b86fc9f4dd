from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.fpga.model import Core, Project, TestCase, Variant
from labctl.fpga.selection import Job, find_job, jobs_of, seed_of, select, units_of


def core(name: str, *variants: str) -> Core:
    tests = tuple(TestCase("test_m", one, Path("t.py"), 1) for one in ("test_a", "test_b"))
    return Core(
        name, Path("core.yaml"), "", "top", (), tests=tests,
        variants=tuple(Variant(one) for one in variants or ("",)),
    )  # fmt: skip


PROJECT = Project(Path("/p"), (core("fifo", "W=4", "W=8"), core("lib/uart")))


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ((), 6),
        (("fifo",), 4),
        (("fifo:W=4",), 2),
        (("W=*",), 4),
        (("test_a",), 3),
        (("lib/*",), 2),
        (("lib/uart:test_m.test_b",), 1),
        (("fifo:test_m.test_b",), 2),
        (("fifo:W=8:test_m.test_b", "test_a"), 4),
    ],
)
def test_patterns(patterns: tuple[str, ...], count: int) -> None:
    found = select(PROJECT, patterns)
    assert len(found) == count
    assert len({one.name for one in found}) == count


def test_a_pattern_that_selects_nothing_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="no test is selected by 'fifa'; did you mean 'fifo'"):
        select(PROJECT, ("test_a", "fifa"))


def test_no_tests_at_all_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="there are no tests"):
        select(Project(Path("/p"), ()), ())


@settings(deadline=None)
@given(st.sampled_from(units_of(PROJECT.cores)), st.integers(0, 2**31 - 1))
def test_the_name_of_a_run_finds_it_again(unit: object, seed: int) -> None:
    job = Job(unit, seed)  # type: ignore[arg-type]
    assert find_job(PROJECT, job.name) == job


@pytest.mark.parametrize("name", ["", "fifo", "fifo@", "@1", "fifo:W=4:test_m.test_a@x", "a@1" * 9])
def test_what_is_no_name_of_a_run(name: str) -> None:
    with pytest.raises(UsageError):
        find_job(PROJECT, name)


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 5000))
def test_seeds_differ_fit_and_begin_with_the_base(base: int, count: int) -> None:
    seeds = [seed_of(base, index) for index in range(count)]
    assert seeds[0] == base
    assert len(set(seeds)) == count
    assert all(0 <= one < 2**31 for one in seeds)


def test_what_draws_nothing_runs_with_the_first_seed_only() -> None:
    first, *others = units_of(PROJECT.cores)
    once = replace(first, test=replace(first.test, seeded=False))
    jobs = jobs_of([once, *others], 7, 3)
    assert [one.seed for one in jobs if one.unit is once] == [7]
    assert [one.seed for one in jobs if one.unit is others[0]] == [7, 8, 9]
    assert len(jobs) == 1 + 3 * len(others)
