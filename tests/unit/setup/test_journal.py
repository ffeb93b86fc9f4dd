"""The journal: what was there before, what was done, and what became of runs that were killed."""

import base64
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.setup.events import HostResult, ItemResult
from labctl.setup.journal import Journal, find_run, list_runs, read_events, runs_dir
from labctl.setup.resource import Change
from labctl.setup.resources.file import File


def journal(*hosts: str) -> Journal:
    return Journal(hosts, profiles=["base"], settings={"timezone": "Etc/UTC"})


def change(path: str = "/etc/x", before: bytes | None = b"old\xff") -> tuple[File, Change]:
    return File(path=path, content="new"), Change("edit", "there", "new", backup={path: before})


def result(host: str, status: str = "ok", **more: object) -> HostResult:
    items = [ItemResult("file /etc/x", "changed"), ItemResult("file /etc/y", "unchanged")]
    return HostResult(host, status, items, seconds=1.5, **more)  # type: ignore[arg-type]


def test_a_finished_run_tells_all(home: Path) -> None:
    run = journal("box1", "box2")
    run.before("box1", [change(), change("/etc/new", None)])
    run.after("box1", "file /etc/x", "changed", "")
    run.done(result("box1"))
    run.done(result("box2", "unreachable", error="box2: no answer"))
    run.close()
    (info,) = list_runs()
    assert (info.id, info.state, info.hosts) == (run.id, "finished", ("box1", "box2"))
    assert info.profiles == ("base",)
    assert info.settings == {"timezone": "Etc/UTC"}
    assert info.unfinished == ["box2"]
    assert info.results["box1"]["changed"] == 1
    events = list(read_events(info, "box1"))
    assert [event["event"] for event in events] == ["before", "before", "after", "done"]
    assert base64.b64decode(events[0]["backup"]["/etc/x"]) == b"old\xff"
    assert events[1]["backup"] == {"/etc/new": None}
    assert events[0]["wanted"]["content"] == "new"
    assert events[3]["items"][0]["id"] == "file /etc/x"


def test_nobody_else_may_read_it(home: Path) -> None:
    run = journal("box1")
    run.before("box1", [change()])
    run.close()
    for path in [runs_dir(), *runs_dir().rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_is_announced_is_on_the_disk_before_it_is_done(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    run = journal("box1")
    synced.clear()
    run.before("box1", [change()])
    assert synced == ["box1.jsonl"]
    assert '"before"' in (runs_dir() / run.id / "box1.jsonl").read_text()
    run.close()


def test_a_run_that_goes_on_is_running_and_a_killed_one_is_killed(home: Path) -> None:
    program = (
        "import os, sys\nfrom labctl.setup.journal import Journal\n"
        "j = Journal(['box1', 'box2'], profiles=None, settings={})\n"
        "print(j.id, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        (info,) = list_runs()
        assert (info.id, info.state) == (name, "running")
        process.kill()
        process.wait(20)
    (info,) = list_runs()
    assert info.state == "killed"
    assert info.unfinished == ["box1", "box2"]
    assert info.results["box1"]["status"] == "killed"
    assert info.profiles is None


def test_looking_at_a_run_does_not_take_its_lock_away(home: Path) -> None:
    run = journal("box1")
    assert [info.state for info in list_runs()] == ["running"]
    lock = runs_dir() / run.id / "lock"
    with lock.open() as stream, pytest.raises(BlockingIOError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    run.close()
    assert [info.state for info in list_runs()] == ["finished"]


def killed(*lines: bytes) -> None:
    """Leave a run of box1 behind whose journal was cut at its end."""
    run = journal("box1")
    run.before("box1", [change()])
    run.after("box1", "file /etc/x", "changed", "")
    (runs_dir() / run.id / "box1.jsonl").open("ab").write(b"".join(lines))
    os.close(run._lock_file)


@pytest.mark.parametrize(
    "rest",
    [b'{"time": "2026', b"{", b"\x00" * 100, b"\xff\xfe", b"null\n", b"[]\n", b"7\n", b"{}\n"],
)
def test_a_journal_cut_at_its_end_can_still_be_read(home: Path, rest: bytes) -> None:
    killed(rest)
    (info,) = list_runs()
    assert info.state == "killed"
    assert info.results["box1"]["changed"] == 1
    assert [event["event"] for event in read_events(info, "box1")] == ["before", "after"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 99}', '{"format": 1}', "\udcff"]
)
def test_a_folder_that_makes_no_sense_hides_no_other_run(home: Path, content: str) -> None:
    good = journal("box1")
    good.close()
    bad = runs_dir() / "20990101-000000-dead"
    bad.mkdir()
    (bad / "run.json").write_text(content, errors="surrogateescape")
    (runs_dir() / "empty").mkdir()
    (runs_dir() / "file").touch()
    assert [info.id for info in list_runs()] == [good.id]


def test_runs_are_found_by_the_start_of_their_id(home: Path) -> None:
    with pytest.raises(UsageError, match="no run starts with 'last'"):
        find_run("last")
    one, two = journal("a"), journal("b")
    one.close()
    two.close()
    newest = max(one.id, two.id)
    assert find_run("last").id == newest
    assert find_run(one.id).id == one.id
    with pytest.raises(UsageError, match="several runs start with '2'"):
        find_run("2")


def test_many_threads_write_whole_lines(home: Path) -> None:
    hosts = [f"box{number}" for number in range(8)]
    run = journal(*hosts)

    def work(host: str) -> None:
        for number in range(50):
            run.after(host, f"item {number} " + "x" * 500, "changed", "ü\n")
        run.done(result(host))

    threads = [threading.Thread(target=work, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.close()
    (info,) = list_runs()
    for host in hosts:
        assert len(list(read_events(info, host))) == 51


def test_a_secret_of_the_inventory_is_not_what_a_run_remembers(home: Path) -> None:
    run = journal("box1")
    run.close()
    about = json.loads((runs_dir() / run.id / "run.json").read_text())
    assert set(about) == {"format", "id", "started", "hosts", "profiles", "settings", "results"}
