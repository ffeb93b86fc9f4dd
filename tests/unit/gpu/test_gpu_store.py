"""History and bookings in their file, and the file's faults."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import BusyError, LabctlError, UsageError
from labctl.facts.gpu.card import GpuFacts, Process, make_card
from labctl.facts.gpu.people import Holder
from labctl.facts.value import Known
from labctl.gpu import bookings, history, store
from labctl.gpu.judged import judged
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.report import Share, by_person, report
from labctl.gpu.show import Line
from labctl.gpu.state import State
from labctl.store.database import Database
from labctl.store.place import Place

GIB = 1 << 30
START = 1_800_000_000  # a full hour
MIN = 60


def reading(host: str = "gpu1", *, load: float = 0.0, person: str = "ann", **more: Any) -> Reading:
    card = make_card(
        {
            "index": Known(0), "uuid": Known("GPU-0"), "name": Known("Card"),
            "memory_total": Known(80 * GIB), "memory_reserved": Known(0),
            "memory_used": Known(GIB if person else 0), "utilisation": Known(load),
            "power": Known(300.0),
            "processes": Known((Process(7, kind=Known("C"), memory=Known(GIB)),) if person else ()),
            **more,
        }
    )  # fmt: skip
    holders = {7: Holder(7, user=Known(person))} if person else {}
    return Reading(host, GpuFacts("x", cards=(card,)), holders)


def shares(database: Database, *, since: int, until: int) -> list[Share]:
    return report(database, since=since, until=until).shares


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "gpu.sqlite"


def record(path: Path, moment: int, **more: Any) -> list[Line]:
    with store.opened(path):
        pass
    lines, remark = judged([reading(**more)], now=moment, place=Place(path))
    assert remark == ""
    with store.opened(path) as database:
        history.record(database, history.samples(lines), now=moment)
    return lines


def test_hours_by_person_and_state(path: Path) -> None:
    for minute in range(61):
        record(path, START + minute * MIN, load=50.0)
    for minute in range(61, 121):
        record(path, START + minute * MIN, person="")
    with store.opened(path) as database:
        found = shares(database, since=START, until=START + 7201)
    by_state = {(share.person, share.state): share.amount for share in found}
    busy = by_state["ann", "busy"]
    assert busy.hours == 1.0
    assert busy.mean_load == pytest.approx(50.0)
    assert busy.kwh == pytest.approx(0.3)
    assert by_state["", "free"].hours == 1.0
    (ann,) = by_person(found)
    assert (ann.name, ann.hours, ann.idle, ann.kwh) == ("ann", 1.0, 0.0, busy.kwh)


def test_a_card_held_without_work_becomes_idle_held(path: Path) -> None:
    record(path, START, load=80.0)
    states = [record(path, START + at * MIN)[0].verdict.state for at in range(1, 20)]
    assert states[:15] == [State.BUSY] * 15
    assert states[16:] == [State.IDLE_HELD] * 3
    assert record(path, START + 20 * MIN, load=5.0)[0].verdict.state is State.BUSY


def test_a_gap_in_the_record_counts_for_nothing(path: Path) -> None:
    record(path, START)
    record(path, START + MIN)
    (line,) = record(path, START + 60 * MIN)
    assert line.verdict.state is State.BUSY
    with store.opened(path) as database:
        found = shares(database, since=START, until=START + 7200)
    assert sum(share.amount.hours for share in found) == pytest.approx((60 + 300) / 3600)


def test_two_recorders_count_once(path: Path) -> None:
    with store.opened(path):
        pass
    lines, _ = judged([reading(load=9.0)], now=START, place=Place(path))
    failures: list[Exception] = []

    def work() -> None:
        try:
            for minute in range(20):
                with store.opened(path) as database:
                    history.record(database, history.samples(lines), now=START + minute * MIN)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.opened(path) as database:
        assert database.execute("SELECT count(*) FROM samples").fetchone() == (20,)
        found = shares(database, since=START, until=START + 7200)
    assert sum(share.amount.hours for share in found) <= 19 / 60 + 1e-9


def test_hostile_names_are_only_text(path: Path) -> None:
    record(path, START, person="x'); DROP TABLE samples;--")
    record(path, START + MIN, person="x'); DROP TABLE samples;--")
    with store.opened(path) as database:
        (share,) = shares(database, since=START, until=START + 3600)
    assert share.person == "x'); DROP TABLE samples;--"


# --- bookings ------------------------------------------------------------------------------------


def unit(of: Reading) -> Unit:
    assert of.facts is not None
    return Unit(of.facts.cards[0])


def test_booking_is_seen_renewed_released_and_ends(path: Path) -> None:
    empty = reading(person="")
    with store.opened(path) as database:
        bookings.book(database, [(empty, unit(empty))], person="ann", now=START, until=START + 3600)
    (line,), _ = judged([empty], now=START + 1, place=Place(path))
    assert (line.verdict.state, line.verdict.person) == (State.BOOKED, "ann")
    with store.opened(path) as database:
        with pytest.raises(BusyError, match="booked by ann"):
            bookings.book(
                database, [(empty, unit(empty))], person="bob", now=START + 1, until=START + 99
            )
        bookings.book(
            database, [(empty, unit(empty))], person="ann", now=START + 2, until=START + 7200
        )
        assert len(bookings.entries(database, now=START + 3)) == 1
    (line,), _ = judged([empty], now=START + 7201, place=Place(path))
    assert line.verdict.state is State.FREE
    with store.opened(path) as database:
        assert bookings.release(database, person="bob", now=START + 5) == []
        assert len(bookings.release(database, person="ann", now=START + 5, host="gpu1")) == 1
    (line,), _ = judged([empty], now=START + 6, place=Place(path))
    assert line.verdict.state is State.FREE


def test_all_or_none(path: Path) -> None:
    one, two = reading(person=""), reading("gpu2", person="")
    with store.opened(path) as database:
        bookings.book(database, [(two, unit(two))], person="ann", now=START, until=START + 9)
    with pytest.raises(BusyError), store.opened(path) as database:
        bookings.book(
            database, [(one, unit(one)), (two, unit(two))],
            person="bob", now=START, until=START + 9,
        )  # fmt: skip
    with store.opened(path) as database:
        assert [entry.person for entry in bookings.entries(database, now=START)] == ["ann"]


@pytest.mark.parametrize("until", [START, START - 1, START + bookings.LONGEST_S + 1])
def test_no_booking_of_the_past_or_for_ever(path: Path, until: int) -> None:
    one = reading(person="")
    with store.opened(path) as database, pytest.raises(UsageError):
        bookings.book(database, [(one, unit(one))], person="ann", now=START, until=until)


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("1.5h", 5400), ("2 d", 172800)])
def test_spans(text: str, seconds: int) -> None:
    assert bookings.span(text) == seconds


# --- the file ------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    with store.opened(path):
        pass
    raw = bytearray(path.read_bytes())
    raw[100:4096] = b"\xff" * 3996
    path.write_bytes(raw)


def no_database(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("hello " * 500)


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)


def later(path: Path) -> None:
    with store.opened(path) as database:
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(damage, "damaged"), (no_database, "damaged"), (a_folder, "look at the file"),
     (later, "later labctl")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_costs_the_history_only(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(path)
    with pytest.raises(LabctlError, match=words), store.opened(path) as database:
        database.execute("SELECT * FROM samples").fetchall()
    if path.is_file():
        lines, remark = judged([reading(person="")], now=START, place=Place(path))
        assert [line.verdict.state for line in lines] == [State.FREE]
        assert words in remark


def test_a_full_disk_is_told_and_nothing_is_half_written(path: Path) -> None:
    with store.opened(path):
        pass
    lines, _ = judged([reading()], now=START, place=Place(path))
    with pytest.raises(LabctlError, match="disk is full"), store.opened(path) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        for moment in range(START, START + 100_000 * MIN, MIN):
            history.record(database, history.samples(lines), now=moment)
    with store.opened(path) as database:
        assert database.execute("SELECT count(*) FROM samples").fetchone() == (0,)


def test_who_reads_waits_for_no_writer_and_makes_nothing(path: Path) -> None:
    with pytest.raises(LabctlError), store.opened(path, write=False):
        pass
    assert not path.parent.exists()
    with store.opened(path):
        pass
    with store.opened(path) as writer:
        writer.execute("INSERT INTO people (name) VALUES ('ann')")
        lines, remark = judged([reading(person="")], now=START, place=Place(path))
        assert (remark, lines[0].verdict.state) == ("", State.FREE)


def test_a_locked_file_is_busy(path: Path) -> None:
    with store.opened(path):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="writing"), store.opened(path, patience_s=0.05):
        pass
    other.close()
