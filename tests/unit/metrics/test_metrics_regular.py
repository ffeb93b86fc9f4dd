"""Jobs in the background: none waits for another, none is lost, and what came last is at hand."""

import threading
import time
from collections.abc import Callable

from labctl.metrics.regular import Job, Regular


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def job(host: str, run: Callable[[], object]) -> Job[object]:
    return Job(host, "test", run, lambda said: said != "bad")


def test_a_job_that_hangs_delays_no_other_and_nobody_who_looks() -> None:
    go = threading.Event()
    stuck, quick = job("stuck", lambda: go.wait(60)), job("quick", lambda: "fine")
    regular = Regular([stuck, quick], every=0.01, workers=2)
    regular.start()
    try:
        until(lambda: regular.seen()[quick].runs >= 5)
        assert regular.seen()[stuck].runs == 0
        assert regular.seen()[stuck].last is None
        go.set()
        until(lambda: regular.seen()[stuck].runs)
    finally:
        go.set()
        regular.stop()


def test_a_failure_is_counted_and_the_age_is_that_of_the_last_success() -> None:
    answers = iter(["fine", "bad"])

    def run() -> str:
        try:
            return next(answers)
        except StopIteration:
            raise ValueError("a defect") from None

    one = job("h", run)
    regular = Regular([one], every=0.01, workers=1)
    regular.start()
    try:
        until(lambda: regular.seen()[one].runs == 1)
        good_at = regular.seen()[one].good_at
        assert good_at is not None
        until(lambda: regular.seen()[one].runs >= 4)  # twice after it raised
    finally:
        regular.stop()
    seen = regular.seen()[one]
    assert seen.failures == seen.runs - 1
    assert (seen.good_at, seen.last) == (good_at, None)


def test_a_slow_job_begins_again_when_it_has_ended_and_not_before() -> None:
    running = threading.Semaphore(1)

    def alone() -> str:
        assert running.acquire(blocking=False), "it was begun twice at once"
        time.sleep(0.02)
        running.release()
        return "fine"

    one = job("h", alone)
    regular = Regular([one, job("other", lambda: "")], every=0.001, workers=2)
    regular.start()
    try:
        until(lambda: regular.seen()[one].runs >= 5)
    finally:
        regular.stop()
    assert regular.seen()[one].failures == 0


def test_nothing_begins_before_the_start_or_after_the_end() -> None:
    ran = []
    one = job("h", lambda: ran.append(1))
    regular = Regular([one], every=60, workers=1)
    assert not ran
    regular.stop()
    regular.start()
    assert regular.seen()[one].runs == 0
