"""SQLite's file: one transaction, steps, turns, and its faults by their names."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.errors import BusyError, LabctlError
from labctl.store.database import Database, opened
from labctl.store.schema import NothingThereError, Schema, statements

ONE = """
CREATE TABLE things (
    id {id},
    name TEXT NOT NULL UNIQUE,  -- a comment; with a semicolon
    size BIGINT
);
CREATE TABLE parts (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) {clustered};
"""


def double(database: Database) -> None:
    database.execute("UPDATE things SET size = size * 2")


FIRST = Schema("test", (ONE,))
SECOND = Schema("test", (ONE, "ALTER TABLE things ADD COLUMN colour TEXT;", double))
NOBODY = 65534


def add(path: Path, name: str, *, schema: Schema = FIRST, patience_s: float = 10) -> int:
    with opened(path, schema, patience_s=patience_s) as database:
        row = database.execute(
            "INSERT INTO things (name, size) VALUES (?, ?) RETURNING id", (name, 1 << 40)
        ).fetchone()
    return int(row[0])


def names(path: Path, *, schema: Schema = FIRST) -> list[str]:
    with opened(path, schema, write=False) as database:
        return [name for (name,) in database.execute("SELECT name FROM things ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "x y?.sqlite"


def test_what_is_written_is_there_and_what_failed_is_not(path: Path) -> None:
    assert (add(path, "a"), add(path, "b")) == (1, 2)
    with pytest.raises(RuntimeError), opened(path, FIRST) as database:
        database.execute("DELETE FROM things")
        raise RuntimeError
    assert names(path) == ["a", "b"]
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_who_reads_makes_nothing(path: Path) -> None:
    with pytest.raises(NothingThereError), opened(path, FIRST, write=False):
        pass
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    with pytest.raises(NothingThereError), opened(path, FIRST, write=False):
        pass
    add(path, "a")
    with pytest.raises(LabctlError, match="not yours"), opened(path, FIRST, write=False) as base:
        base.execute("DELETE FROM things")


def test_steps_are_taken_once_also_for_who_reads(path: Path) -> None:
    add(path, "a")
    for _ in range(2):
        with opened(path, SECOND, write=False) as database:
            row = database.execute("SELECT name, size, colour FROM things").fetchone()
        assert tuple(row) == ("a", 1 << 41, None)
    with pytest.raises(LabctlError, match="written by a later labctl"), opened(path, FIRST):
        pass


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    add(path, "a")
    bad = Schema("test", (ONE, "ALTER TABLE things ADD COLUMN x TEXT;\nSELECT nonsense;"))
    with pytest.raises(LabctlError, match="nonsense"), opened(path, bad):
        pass
    assert names(path) == ["a"]


def test_files_of_others_are_left_alone(path: Path) -> None:
    add(path, "a")
    with pytest.raises(LabctlError, match="than labctl other"), opened(path, Schema("other", ())):
        pass
    foreign = path.with_name("foreign")
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE things (x)")
    connection.close()
    before = foreign.read_bytes()
    for write in (True, False):
        with (
            pytest.raises(LabctlError, match="no database of labctl's"),
            opened(foreign, FIRST, write=write),
        ):
            pass
    assert sqlite3.connect(foreign).execute("SELECT name FROM sqlite_schema").fetchall() == [
        ("things",)
    ]
    assert len(foreign.read_bytes()) == len(before)


def test_statements() -> None:
    assert list(statements(ONE, {"id": "NUMBER", "clustered": "HERE"})) == [
        "CREATE TABLE things (\n    id NUMBER,\n    name TEXT NOT NULL UNIQUE,\n    size BIGINT\n)",
        "CREATE TABLE parts (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) HERE",
    ]


@pytest.mark.parametrize("text", ["'); DROP TABLE things;--", "a\0b", "\udcff", "%s ? %", "漢\n"])
def test_hostile_texts_are_only_text(path: Path, text: str) -> None:
    add(path, text)
    (said,) = names(path)
    assert said == text.replace("\0", "\ufffd").replace("\udcff", "?")


def test_writers_take_turns_and_readers_wait_for_nobody(path: Path) -> None:
    add(path, "0")
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(10):
                with opened(path, FIRST, patience_s=60) as database:
                    # Look, then write: lost if two could do so at once.
                    (most,) = database.execute(
                        "SELECT max(CAST(name AS INTEGER)) FROM things"
                    ).fetchone()
                    database.execute("INSERT INTO things (name) VALUES (?)", (str(most + 1),))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(path) == [str(number) for number in range(31)]
    with opened(path, FIRST) as writer:
        writer.execute("DELETE FROM things")
        assert len(names(path)) == 31


def test_a_locked_file_is_busy(path: Path) -> None:
    add(path, "a")
    with opened(path, FIRST) as writer:
        writer.execute("DELETE FROM things")
        with pytest.raises(BusyError, match="locked: another program"):
            add(path, "b", patience_s=0.05)
    assert names(path) == []


@pytest.mark.parametrize("spoiled", [0, 100, 4096 + 8])
def test_a_damaged_file_is_named_so(path: Path, spoiled: int) -> None:
    with opened(path, FIRST) as database:
        database.executemany(
            "INSERT INTO things (name) VALUES (?)", [(f"{number:0500}",) for number in range(500)]
        )
    raw = bytearray(path.read_bytes())
    raw[spoiled : spoiled + 4096 * 3] = b"\xa5" * 4096 * 3
    path.write_bytes(raw)
    with pytest.raises(LabctlError, match="damaged"):
        names(path)
    with pytest.raises(LabctlError, match="damaged"), opened(path, FIRST) as database:
        database.execute("SELECT sum(length(name)) FROM things").fetchone()


def test_what_is_no_file_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    for write in (True, False):
        with pytest.raises(LabctlError, match="look at the file"), opened(path, FIRST, write=write):
            pass


FULL = """
import sys
from labctl.errors import LabctlError
from labctl.store.database import opened
from labctl.store.schema import Schema
schema = Schema("test", ("CREATE TABLE things (name TEXT);",))
with opened(sys.argv[1], schema) as database:
    database.execute("INSERT INTO things VALUES ('first')")
try:
    with opened(sys.argv[1], schema) as database:
        for _ in range(1000):
            database.execute("INSERT INTO things VALUES (?)", ("x" * 1000,))
except LabctlError as error:
    print(error)
with opened(sys.argv[1], schema, write=False) as database:
    print(database.execute("SELECT name FROM things").fetchall())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    # A mount of its own name space: nobody else sees it, and it goes with the process.
    mount = f'mount -t tmpfs -o size=300k none {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", FULL,
         str(tmp_path / "db")],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    if "permission denied" in done.stderr.lower() or "unshare" in done.stderr:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert "the disk is full; make room" in first
    assert second == "[('first',)]"


@pytest.fixture
def others() -> Iterator[Path]:
    """A folder that everybody can look into, and this process as somebody who owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        add(folder / "db", "a")
        (folder / "db").chmod(0o644)
        yield folder / "db"


def as_nobody(path: Path) -> list[str]:
    os.seteuid(NOBODY)
    try:
        return names(path)
    finally:
        os.seteuid(0)


def test_who_may_not_write_reads_all_the_same(others: Path) -> None:
    assert as_nobody(others) == ["a"]
    with opened(others, FIRST) as writer:
        writer.execute("INSERT INTO things (name) VALUES ('b')")
        assert as_nobody(others) == ["a"]
    assert as_nobody(others) == ["a", "b"]
    os.seteuid(NOBODY)
    try:
        with pytest.raises(LabctlError, match="not yours"):
            add(others, "c")
    finally:
        os.seteuid(0)


def test_a_change_under_who_cannot_lock_is_noticed(others: Path) -> None:
    os.seteuid(NOBODY)
    try:
        with pytest.raises(BusyError, match="changed"), opened(others, FIRST, write=False) as base:
            base.execute("SELECT count(*) FROM things").fetchone()
            os.seteuid(0)
            add(others, "b")
            os.seteuid(NOBODY)
    finally:
        os.seteuid(0)
