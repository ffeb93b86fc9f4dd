"""The store on a real PostgreSQL server: the same dialect, turns, faults, passwords."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from postgres_server import PASSWORD, Server

from labctl.errors import BusyError, LabctlError, UnreachableError, UsageError
from labctl.store import postgres as engine
from labctl.store.database import Database, opened
from labctl.store.schema import NothingThereError, Schema

ONE = """
CREATE TABLE things (id {id}, name TEXT NOT NULL UNIQUE, size BIGINT, part DOUBLE PRECISION);
CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) {clustered};
"""


def double(database: Database) -> None:
    database.execute("UPDATE things SET size = size * 2")


FIRST = Schema("test", (ONE,))
SECOND = Schema("test", (ONE, "ALTER TABLE things ADD COLUMN colour TEXT;", double))


def add(url: str, name: str, *, patience_s: float = 10) -> int:
    with opened(url, FIRST, patience_s=patience_s) as database:
        row = database.execute(
            "INSERT INTO things (name, size, part) VALUES (?, ?, ?) RETURNING id",
            (name, 1 << 40, 0.1),
        ).fetchone()
    return int(row[0])


def names(url: str) -> list[str]:
    with opened(url, FIRST, write=False) as database:
        return [name for (name,) in database.execute("SELECT name FROM things ORDER BY id")]


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.url(postgres.fresh())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_transactions_steps_numbers_and_texts(url: str) -> None:
    with pytest.raises(NothingThereError), opened(url, FIRST, write=False):
        pass
    texts = ["a", "'); DROP TABLE things;--", "%s ? %", "漢\n", "a\0b", "\udcff"]
    assert [add(url, text) for text in texts] == [1, 2, 3, 4, 5, 6]
    assert names(url) == [*texts[:4], "a\ufffdb", "?"]
    with pytest.raises(RuntimeError), opened(url, FIRST) as database:
        database.execute("DELETE FROM things")
        raise RuntimeError
    with opened(url, FIRST, write=False) as database:
        # As SQLite has them: ints stay ints when summed, fractions are floats.
        row = database.execute(
            "SELECT sum(size), sum(part), count(*), sum(size) / 4, 5 % 3 FROM things"
            " WHERE size > ? AND 7 % 4 = ?", (0, 3),
        ).fetchone()  # fmt: skip
    assert [type(value) for value in row] == [int, float, int, float, int]
    assert row[0] == 6 << 40
    with (
        pytest.raises(LabctlError, match="can only be read"),
        opened(url, FIRST, write=False) as database,
    ):
        database.execute("DELETE FROM things")
    for _ in range(2):
        with opened(url, SECOND, write=False) as database:
            row = database.execute("SELECT size, colour FROM things WHERE id = 1").fetchone()
            assert tuple(row) == (2 << 40, None)
    with pytest.raises(LabctlError, match="written by a later labctl"), opened(url, FIRST):
        pass
    with opened(url, Schema("other", (ONE,))) as database:  # another job in the same database
        assert database.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_a_step_that_fails_changes_nothing(url: str) -> None:
    add(url, "a")
    bad = Schema("test", (ONE, "ALTER TABLE things ADD COLUMN x TEXT;\nSELECT nonsense;"))
    with pytest.raises(LabctlError, match="nonsense"), opened(url, bad):
        pass
    assert names(url) == ["a"]


def test_writers_take_turns_and_readers_wait_for_nobody(url: str) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(8):
                with opened(url, FIRST, patience_s=60) as database:
                    # Look, then write: lost if two could do so at once.
                    (most,) = database.execute(
                        "SELECT max(CAST(name AS INTEGER)) FROM things"
                    ).fetchone()
                    new = str((most or 0) + 1)
                    database.execute("INSERT INTO things (name) VALUES (?)", (new,))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(url) == [str(number) for number in range(1, 25)]
    with opened(url, FIRST) as writer:
        writer.execute("DELETE FROM things")
        assert len(names(url)) == 24
        with pytest.raises(BusyError, match="others have been writing"):
            add(url, "x", patience_s=0.1)


def test_a_server_killed_in_mid_write_and_back(postgres: Server, url: str) -> None:
    add(url, "before")
    with pytest.raises(UnreachableError), opened(url, FIRST) as database:
        database.execute("INSERT INTO things (name) VALUES ('lost')")
        postgres.stop(signal.SIGQUIT)
        try:
            with pytest.raises(UnreachableError, match="pg_isready"):
                add(url, "nobody there")
            database.execute("INSERT INTO things (name) VALUES ('lost too')")
        finally:
            postgres.start()
    assert names(url) == ["before"]
    add(url, "after")
    assert names(url) == ["before", "after"]


def test_a_connection_that_is_ended_from_there(postgres: Server, url: str) -> None:
    add(url, "before")
    with (
        pytest.raises(UnreachableError, match="terminating connection"),
        opened(url, FIRST) as database,
    ):
        (pid,) = database.execute("SELECT pg_backend_pid()").fetchone()
        postgres.execute(f"SELECT pg_terminate_backend({pid})")
        until(lambda: not Path(f"/proc/{pid}").exists())
        database.execute("INSERT INTO things (name) VALUES ('lost')")
    assert names(url) == ["before"]


def test_a_server_that_is_stuck_is_left(
    postgres: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(url, "before")
    monkeypatch.setattr(engine, "_CUT_AFTER_S", 0.5)
    stopped = 0
    try:
        with pytest.raises(UnreachableError), opened(url, FIRST) as database:
            (stopped,) = database.execute("SELECT pg_backend_pid()").fetchone()
            os.kill(stopped, signal.SIGSTOP)
            database.execute("SELECT 1")
    finally:
        os.kill(stopped, signal.SIGCONT)
    monkeypatch.undo()
    assert names(url) == ["before"]


def test_who_is_not_let_in_hears_what_to_do(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres.fresh()
    postgres.execute("CREATE ROLE ann LOGIN PASSWORD '" + PASSWORD.replace("'", "''") + "'")
    passwords = tmp_path / "pgpass"
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    def refused(database: str) -> str:
        with pytest.raises(LabctlError) as raised:
            add(postgres.remote(database, user="ann"), "a")
        assert PASSWORD not in str(raised.value)
        return f"{type(raised.value).__name__} {raised.value}"

    assert "UnreachableError" in refused(name)
    assert "~/.pgpass" in refused(name)
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passwords.write_text(f"127.0.0.1:{postgres.port}:*:ann:{escaped}\n")
    passwords.chmod(0o600)
    assert "GRANT CREATE" in refused(name)
    assert "createdb" in refused("nowhere")
    postgres.execute(f"GRANT CREATE ON DATABASE {name} TO ann")
    add(postgres.remote(name, user="ann"), "a")
    passwords.write_text("*:*:*:ann:wrong\n")
    assert "~/.pgpass" in refused(name)


def test_other_mistakes_are_named(postgres: Server) -> None:
    with pytest.raises(UnreachableError, match="createdb"), opened(postgres.url("nowhere"), FIRST):
        pass
    with (
        pytest.raises(UsageError, match="does not understand"),
        opened(postgres.url("x") + "&nonsense=1", FIRST),
    ):
        pass
    with (
        pytest.raises(UnreachableError, match="refused"),
        opened("postgresql://127.0.0.1:1/x", FIRST),
    ):
        pass
