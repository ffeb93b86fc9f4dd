"""A year of twenty cards, a sample each minute: how long ``labctl gpu report`` takes over it all.

The samples (10.5 million rows) and the hours that are summed up of them are made as recording makes
them, at once in SQL. Reports as table, JSON and page are timed as whole commands.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Aim, Contender, Report, Say, argument_parser, interleave, positive, run_bench

from labctl.errors import LabctlError
from labctl.gpu import store

AIMS = {"table of a year": Aim(2.0), "page of a year": Aim(2.0)}
MINUTES = 365 * 24 * 60
_DEADLINE_S = 600.0

# People and states change as they do in a lab: a third idle-held, five people over the cards.
_STATE = "CASE (m / 180 + u) % 3 WHEN 0 THEN 'free' WHEN 1 THEN 'busy' ELSE 'idle-held' END"
_PERSON = "CASE (m / 180 + u) % 3 WHEN 0 THEN NULL ELSE (m / 720 + u) % 5 + 1 END"
_FILL = f"""
WITH RECURSIVE minutes(m) AS (SELECT 0 UNION ALL SELECT m + 1 FROM minutes WHERE m + 1 < :minutes),
units_(u) AS (SELECT id FROM units)
INSERT INTO samples SELECT u, :start + m * 60, {_STATE}, {_PERSON}, (m + u) % 100, 1 << 30, 250.0
FROM units_, minutes
"""
_HOURS = """
INSERT INTO hours SELECT time / 3600 * 3600, unit, state, coalesce(person, 0), count(*) * 60.0,
sum(utilisation) * 60.0, sum(power) * 60.0 FROM samples GROUP BY 1, 2, 3, 4
"""


def fill(path: Path, *, cards: int, minutes: int, now: int) -> int:
    """Make the database and return how many samples it holds."""
    with store.opened(path):
        pass
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("BEGIN")
    for card in range(cards):
        database.execute(
            "INSERT INTO units (host, key, name, model) VALUES (?, ?, ?, 'NVIDIA H100')",
            (f"gpu{card // 8}", f"GPU-{card}", str(card % 8)),
        )
    for person in ("ann", "bob", "cem", "dan", "eva"):
        database.execute("INSERT INTO people (name) VALUES (?)", (person,))
    database.execute(_FILL, {"minutes": minutes, "start": now - minutes * 60})
    database.execute(_HOURS)
    database.execute("COMMIT")
    (count,) = database.execute("SELECT count(*) FROM samples").fetchone()
    database.close()
    return int(count)


def timed(path: Path, *words: str) -> float:
    """Run the report and return its seconds.

    Raises:
        LabctlError: It failed.
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "labctl", "gpu", "report", "--since", "366d", *words],
        env={**os.environ, "LABCTL_GPU_DB": str(path)},
        capture_output=True, text=True, timeout=_DEADLINE_S, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise LabctlError(done.stdout[-200:] + done.stderr[-300:], thing="labctl gpu report")
    return seconds


def measure(runs: int, cards: int, minutes: int, say: Say) -> Report:
    """Make the year and time the reports of it."""
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as name:
        path = Path(name) / "gpu.sqlite"
        say("making the samples, which takes a minute or two")
        rows = fill(path, cards=cards, minutes=minutes, now=int(time.time()))
        say(f"{rows} samples, {path.stat().st_size >> 20} MiB")
        contenders = [
            Contender("table", lambda: timed(path)),
            Contender("json", lambda: timed(path, "--json")),
            Contender("page", lambda: timed(path, "--html", str(Path(name) / "page.html"))),
        ]
        times = interleave(contenders, runs, say)
        details: dict[str, object] = {
            "rows": rows,
            "MiB": path.stat().st_size >> 20,
            "json": times["json"].median,
        }
    return Report(
        "history",
        "seconds",
        ours=times["table"].median,
        ratios={"table of a year": times["table"].median, "page of a year": times["page"].median},
        aims=AIMS,
        details=details,
    )


def main() -> int:
    """Read the arguments and measure."""
    parser = argument_parser(__doc__ or "", runs=5)
    parser.add_argument("--cards", type=positive, default=20, metavar="N", help="(20)")
    parser.add_argument("--minutes", type=positive, default=MINUTES, metavar="N", help="(a year)")
    options = parser.parse_args()
    return run_bench(
        options, lambda say: measure(options.runs, options.cards, options.minutes, say)
    )


if __name__ == "__main__":
    sys.exit(main())
