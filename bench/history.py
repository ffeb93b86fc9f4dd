"""A year of twenty cards, a sample each minute: how long ``labctl gpu report`` takes over it all.

The samples (10.5 million rows) are made at once in SQL, their sums as labctl makes them anew.
Reports as table, JSON and page are timed as whole commands, beside the peer: one plain query over
the samples, which is the least that a report without sums has to do. With a PostgreSQL server of
Debian's there, the same on it, in a temporary cluster.

Wall time tells what a person waits, on this machine as it is; processor time (user and system, of
the command) hardly depends on what else the machine does. A server's own is not in it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness import Aim, Contender, Report, Say, argument_parser, interleave, positive, run_bench

from labctl.errors import LabctlError
from labctl.gpu import store
from labctl.gpu.rollup import rebuild

AIMS = {
    "table, s": Aim(2.0),
    "page, s": Aim(2.0),
    "table / plain query": Aim(1.0),
}
MINUTES = 365 * 24 * 60
_DEADLINE_S = 600.0

# People and states change as they do in a lab: a third idle-held, five people over the cards.
_STATE = "CASE (m / 180 + id) % 3 WHEN 0 THEN 'free' WHEN 1 THEN 'busy' ELSE 'idle-held' END"
_PERSON = "CASE (m / 180 + id) % 3 WHEN 0 THEN 0 ELSE (m / 720 + id) % 5 + 1 END"
_FILL = f"""
WITH RECURSIVE minutes(m) AS (
    SELECT 0 UNION ALL SELECT m + 1 FROM minutes WHERE m + 1 < ?
)
INSERT INTO samples SELECT id, ? + m * 60, 60, {_STATE}, {_PERSON}, m / 300 % 2, 0, (m + id) % 100,
    1073741824, 250.0 FROM units CROSS JOIN minutes
"""
# The peer: what a report would be without sums.
_PLAIN = """
SELECT host, units.name, state, people.name, sum(seconds), avg(utilisation), sum(power * seconds)
FROM samples JOIN units ON units.id = samples.unit LEFT JOIN people ON people.id = samples.person
WHERE time > ? AND time <= ? GROUP BY host, units.name, state, people.name
"""
_QUERY = f"""
import sys
from labctl.gpu import store
with store.opened(sys.argv[1], write=False) as database:
    rows = database.execute('''{_PLAIN}''', (int(sys.argv[2]), int(sys.argv[3]))).fetchall()
    assert len(rows) > 1
"""


@dataclass
class Timer:
    """Runs commands on one database and remembers their processor time."""

    place: str
    since: int
    until: int
    folder: Path
    processor: dict[str, list[float]] = field(default_factory=dict)

    def report(self, name: str, *words: str) -> float:
        """Run the report and return its seconds."""
        days = (self.until - self.since) // 86400 + 1
        return self._timed(name, "-m", "labctl", "gpu", "report", "--since", f"{days}d", *words)

    def plain(self) -> float:
        """Run the peer's query and return its seconds."""
        return self._timed(
            "plain query", "-c", _QUERY, self.place, f"{self.since}", f"{self.until}"
        )

    def _timed(self, name: str, *words: str) -> float:
        output = self.folder / "output"
        with output.open("wb") as sink:
            began = time.monotonic()
            variables = {**os.environ, "LABCTL_GPU_DB": self.place}
            pid = os.posix_spawn(
                sys.executable, [sys.executable, *words], variables,
                file_actions=[(os.POSIX_SPAWN_DUP2, sink.fileno(), number) for number in (1, 2)],
            )  # fmt: skip
            _, status, used = os.wait4(pid, 0)
            seconds = time.monotonic() - began
        if status != 0:
            raise LabctlError(output.read_text()[-300:], thing=name)
        self.processor.setdefault(name, []).append(used.ru_utime + used.ru_stime)
        return seconds

    def contenders(self, where: str) -> list[Contender]:
        """Return what is timed, named after ``where`` it is."""
        page = str(self.folder / "page.html")
        return [
            Contender(f"table{where}", lambda: self.report("table")),
            Contender(f"json{where}", lambda: self.report("json", "--json")),
            Contender(f"page{where}", lambda: self.report("page", "--html", page)),
            Contender(f"plain query{where}", self.plain, most=3),
        ]


def fill(place: str, *, cards: int, minutes: int, now: int) -> int:
    """Make the database and return how many samples it holds."""
    with store.opened(place) as database:
        if database.engine == "sqlite":
            database.execute("PRAGMA cache_size = -200000")
        database.executemany(
            "INSERT INTO units (host, key, name, model) VALUES (?, ?, ?, 'NVIDIA H100')",
            [(f"gpu{card // 8}", f"GPU-{card}", str(card % 8)) for card in range(cards)],
        )
        database.executemany(
            "INSERT INTO people (name) VALUES (?)", [(name,) for name in ("ann", "bob", "cem",
                                                                          "dan", "eva")],
        )  # fmt: skip
        database.execute(_FILL, (minutes, now - (minutes - 1) * 60))
        rebuild(database)
        (count,) = database.execute("SELECT count(*) FROM samples").fetchone()
    return int(count)


@contextlib.contextmanager
def server(say: Say) -> Iterator[str]:
    """Yield the URL of a database on a PostgreSQL server of its own; empty where there is none."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "integration"))
    found = importlib.import_module("postgres_server")
    why = found.missing()
    if why:
        say(f"without PostgreSQL: {why}")
        yield ""
        return
    with found.running() as cluster:
        yield cluster.url(cluster.fresh())


def measure(runs: int, cards: int, minutes: int, say: Say, *, postgres: bool) -> Report:
    """Make the year and time the reports of it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labctl-bench-")))
        now = int(time.time())
        say("making the samples, which takes a minute or two")
        began = time.monotonic()
        rows = fill(str(folder / "gpu.sqlite"), cards=cards, minutes=minutes, now=now)
        size = (folder / "gpu.sqlite").stat().st_size >> 20
        say(f"{rows} samples, {size} MiB, made in {time.monotonic() - began:.0f} s")
        timers = {"": Timer(str(folder / "gpu.sqlite"), now - minutes * 60, now, folder)}
        url = stack.enter_context(server(say)) if postgres else ""
        if url:
            say("the same on PostgreSQL")
            fill(url, cards=cards, minutes=minutes, now=now)
            timers[", PostgreSQL"] = Timer(url, now - minutes * 60, now, folder)
        contenders = [one for where, timer in timers.items() for one in timer.contenders(where)]
        times = interleave(contenders, runs, say)
        for timer in timers.values():
            pages = (folder / "page.html").stat().st_size >> 10
            say(f"processor time, {timer.place.partition(':')[0][:10]}: " + _processor(timer))
    wall = {name: one.median for name, one in times.items()}
    ratios = {"table, s": wall["table"], "page, s": wall["page"]}
    for where in timers:
        for name in ("table", "page"):
            ratios[f"{name}{where} / plain query"] = (
                wall[f"{name}{where}"] / wall[f"plain query{where}"]
            )
        if where:
            ratios |= {f"{name}{where}, s": wall[f"{name}{where}"] for name in ("table", "page")}
    for name, values in timers[""].processor.items():
        ratios[f"{name}, s of processor time"] = median(values)
    return Report(
        "history",
        "seconds",
        ours=wall["table"],
        peers={name: one for name, one in wall.items() if name.startswith("plain")},
        ratios=ratios,
        aims=AIMS,
        details={
            "rows": rows, "MiB": size, "page KiB": pages, "wall": _rounded(wall),
            "processor": {
                f"{name}{where}": round(median(values), 3)
                for where, timer in timers.items()
                for name, values in timer.processor.items()
            },
        },
    )  # fmt: skip


def _processor(timer: Timer) -> str:
    return ", ".join(f"{name} {median(values):.2f}" for name, values in timer.processor.items())


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(figure, 3) for name, figure in figures.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments and measure."""
    parser = argument_parser(__doc__ or "", runs=5)
    parser.add_argument("--cards", type=positive, default=20, metavar="N", help="(20)")
    parser.add_argument("--minutes", type=positive, default=MINUTES, metavar="N", help="(a year)")
    parser.add_argument("--no-postgres", action="store_true", help="SQLite only")
    options = parser.parse_args(arguments)
    return run_bench(
        options,
        lambda say: measure(
            options.runs, options.cards, options.minutes, say, postgres=not options.no_postgres
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
