"""History and bookings of cards on a real PostgreSQL server, as commands and as one history."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import Server

from labctl.errors import DependencyError
from labctl.gpu import store
from labctl.gpu.course import course
from labctl.gpu.history import Sample, record
from labctl.gpu.report import report
from labctl.gpu.rollup import rebuild
from labctl.gpu.state import State
from labctl.store.database import Database
from labctl.vlab.nvml.build import SCENARIO_VARIABLE, build

START = 1_800_000_000
MIN = 60
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.url(postgres.fresh())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("nvml"))
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def start(library: Path, tmp_path: Path, url: str) -> Iterator[Start]:
    """Start labctl with two simulated cards and the server's history; what is left is ended."""
    scenario = tmp_path / "scenario"
    scenario.write_text(
        "driver 999.1\n"
        + "".join(
            f"card\nname NVIDIA Test\nuuid GPU-{at}\nmemory_total 85899345920\nmemory_used 0\n"
            "memory_reserved 0\nutilisation 0\npower 100000\n"
            for at in range(2)
        )
    )
    running: list[subprocess.Popen[str]] = []

    def run(*words: str) -> "subprocess.Popen[str]":
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "labctl", "gpu", *words],
                env={
                    "PATH": os.environ["PATH"], "HOME": str(tmp_path), "SUDO_USER": "ann",
                    "LD_LIBRARY_PATH": str(library.parent), SCENARIO_VARIABLE: str(scenario),
                    "LABCTL_GPU_DB": url, "PYTHONUNBUFFERED": "1",
                    "PYTHONPATH": str(Path(__file__).parents[3]),
                },
                cwd=tmp_path, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return running[-1]

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=60)


def done(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, out, err


def counted(url: str) -> int:
    with store.opened(url, write=False) as database:
        return int(database.execute("SELECT count(*) FROM samples").fetchone()[0])


def test_the_commands_on_a_server(start: Start, url: str) -> None:
    assert done(start("report"))[0] == 1  # nothing there yet, and nothing is made
    assert done(start("bookings"))[1] == "no bookings\n"
    code, out, err = done(start("book", "local:0", "--for", "2h", "--note", "paper"))
    assert (code, err) == (0, "")
    assert "paper" in out
    code, out, _ = done(start("local"))
    assert [line.split()[2] for line in out.splitlines()] == ["STATE", "booked", "free"]
    assert done(start("record", "local"))[1] == "2 samples\n"
    with store.opened(url) as database:  # the second one, a minute later
        now = database.execute("SELECT max(time) FROM samples").fetchone()[0]
        rows = database.execute("SELECT host, key, name, model FROM units ORDER BY id").fetchall()
        record(
            database,
            [Sample(*rows[0], State.BOOKED), Sample(*rows[1], State.BUSY, ("bob",))],
            now=now - 60,
        )
    code, out, _ = done(start("report", "--json"))
    data = json.loads(out)
    assert code == 0
    assert [(one["unit"], one["state"]) for one in data["shares"]] == [
        ("0", "booked"), ("1", "free"),
    ]  # fmt: skip
    assert [one["hours"] for one in data["shares"]] == [60 / 3600, 60 / 3600]
    assert done(start("run", "--on", "local", "--", "sh", "-c", "exit 7"))[0] == 7
    code, out, _ = done(start("release", "--json"))
    assert [entry["person"] for entry in json.loads(out)["bookings"]] == ["ann"]


def test_two_recorders_and_a_server_that_is_killed_and_comes_back(
    start: Start, url: str, postgres: Server
) -> None:
    recorders = [start("record", "local", "--every", "1s") for _ in range(2)]

    def until(enough: int) -> None:
        deadline = time.monotonic() + 90
        while counted(url) < enough:
            assert all(one.poll() is None for one in recorders)
            assert time.monotonic() < deadline, "no more samples came"
            time.sleep(0.1)

    deadline = time.monotonic() + 90
    while not postgres.execute("SELECT to_regclass('labctl_gpu.samples')", "lab")[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    until(4)
    postgres.stop(signal.SIGQUIT)
    lines = []
    try:
        # Both notice, and go on.
        for one in recorders:
            assert one.stderr is not None
            lines.append(one.stderr.readline())
            while "wait to be written" not in lines[-1]:
                lines.append(one.stderr.readline())
                assert lines[-1], lines
    finally:
        postgres.start()
    before = counted(url)
    until(before + 6)
    for one in recorders:
        one.send_signal(signal.SIGINT)
    for one in recorders:
        _, err = one.communicate(timeout=60)
        assert one.returncode == 130, err
        assert "Traceback" not in err
    with store.opened(url) as database:
        twice = database.execute(
            "SELECT unit, time FROM samples GROUP BY unit, time HAVING count(*) > 1"
        ).fetchall()
        assert twice == []
        for seconds, span in database.execute(
            "SELECT sum(seconds), max(time) - min(time) FROM samples GROUP BY unit"
        ):
            assert seconds == span  # no gap, though nothing could be written for a while
        kept = sums(database)
        rebuild(database)
        assert sums(database) == pytest.approx(kept)


def sums(database: Database) -> list[float]:
    return [
        number
        for row in database.execute(
            "SELECT span, unit, start, seconds, load, joules FROM sums ORDER BY 1, 2, 3, state"
        )
        for number in row
    ]


def test_the_same_samples_give_the_same_report_on_both(url: str, tmp_path: Path) -> None:
    texts = []
    states = [State.BUSY, State.IDLE_HELD, State.FREE, State.SICK, State.GHOST]
    places = (url, str(tmp_path / "db"))

    def fill(place: str, first: int) -> None:
        # Two at once, one of them late and out of order.
        for minute in range(first, 300, 15)[:: -1 if first % 2 else 1]:
            found = [
                Sample("a", f"GPU-{card}", f"{card}", "X", states[(minute // 45 + card) % 5],
                       ("ann", "bob")[: minute // 100 % 3], "why" if card else "",
                       float(minute % 100), 1 << 36, None if card else 250.0)
                for card in range(3)
            ]  # fmt: skip
            with store.opened(place, patience_s=60) as database:
                record(database, found, now=START + minute * MIN)

    for place in places:
        threads = [threading.Thread(target=fill, args=(place, first)) for first in (0, 5, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.opened(place, write=False) as database:
            span = {"since": START + 1000, "until": START + 280 * MIN + 17}
            made, drawn = report(database, **span), course(database, **span)
        texts.append((made.people, made.cards, made.faults, made.shares, drawn))
    assert texts[0][3]
    assert len(texts[0][2]) > 1
    assert texts[0] == texts[1]
