"""The engine on this machine, below a folder of the test's own: real shells, no system files."""

import contextlib
import getpass
import os
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.errors import LabctlError, UnreachableError
from labctl.setup import engine
from labctl.setup.engine import Hooks, HostRun
from labctl.setup.events import (
    Connected,
    Event,
    HostDone,
    HostResult,
    ItemDone,
    Note,
    PlanMade,
    StepBegun,
)
from labctl.setup.resource import Change, Resource
from labctl.setup.resources.block import Block
from labctl.setup.resources.command import Command
from labctl.setup.resources.directory import Directory
from labctl.setup.resources.file import File
from labctl.setup.resources.line import Line
from labctl.setup.resources.link import Link
from labctl.transport.local import LocalSession
from labctl.transport.session import Session, Stream

ME = getpass.getuser()
Setup = Callable[..., HostResult]


class Here(LocalSession):
    """This machine, as whoever runs the tests."""

    def __init__(self) -> None:
        Session.__init__(self, "box", None)


@pytest.fixture(autouse=True)
def lock(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the machine's own lock out of the tests; return the one they take instead."""
    path = tmp_path_factory.mktemp("lock") / "lock"
    monkeypatch.setattr(engine, "_LOCK", engine._LOCK.replace("/run/labctl-setup.lock", str(path)))
    assert str(path) in engine._LOCK
    return path


@pytest.fixture
def told() -> list[Event]:
    """Return the list that receives every event."""
    return []


@pytest.fixture
def set_up(told: list[Event]) -> Setup:
    """Return a function that sets this machine up."""

    def run(
        items: Sequence[Resource],
        *,
        check: bool = False,
        session: Callable[[], Session] = Here,
        **hooks: object,
    ) -> HostResult:
        outside = Hooks(emit=told.append, **hooks)  # type: ignore[arg-type]
        return HostRun("box", list(items), session, outside, check=check).run()

    return run


def everything(root: Path) -> list[Resource]:
    """Return one item of each kind that touches nothing but files."""
    return [
        Directory(path=f"{root}/d", mode=0o750, owner=ME),
        File(path=f"{root}/d/a file", content="one\ntwo\n", mode=0o640, owner=ME),
        Line(path=f"{root}/lines", line="three"),
        Line(path=f"{root}/lines", line="TWO", match="^two$"),
        Block(path=f"{root}/rc", content="alias x=y", owner=ME),
        Link(path=f"{root}/link", target="d/a file"),
        Command(name="mark", run=f"echo ran >>{root}/ran", unless=f"[ -e {root}/ran ]"),
        File(path=f"{root}/old", state="absent"),
    ]


def snapshot(root: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (
            status.st_ino,
            status.st_mode,
            status.st_uid,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
    return found


def statuses(result: HostResult) -> dict[str, str]:
    return {item.id.split("/")[-1]: item.status for item in result.items}


# -- converging ----------------------------------------------------------------------------------


def test_it_converges_and_the_second_run_writes_nothing(
    set_up: Setup, tmp_path: Path, lock: Path
) -> None:
    (tmp_path / "old").write_text("x")
    (tmp_path / "lines").write_text("one\ntwo")
    items = everything(tmp_path)
    first = set_up(items)
    assert first.status == "ok", first
    assert {item.status for item in first.items} == {"changed"}
    assert (tmp_path / "d" / "a file").read_text() == "one\ntwo\n"
    assert (tmp_path / "lines").read_text() == "one\nTWO\nthree\n"
    assert (tmp_path / "link").readlink() == Path("d/a file")
    assert not (tmp_path / "old").exists()
    lock.unlink()
    before = snapshot(tmp_path)
    second = set_up(items)
    assert (second.status, second.round_trips) == ("ok", 1)
    assert {item.status for item in second.items} == {"unchanged"}
    assert snapshot(tmp_path) == before
    assert not lock.exists()
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_all_changes_that_need_no_proof_cost_one_script(set_up: Setup, tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    assert set_up(everything(tmp_path)).round_trips == 2


def test_check_changes_nothing_and_foresees_what_is_then_done(
    set_up: Setup, tmp_path: Path
) -> None:
    (tmp_path / "old").write_text("x\n")
    (tmp_path / "rc").write_text("mine\n")
    before = snapshot(tmp_path)
    looked = set_up(everything(tmp_path), check=True)
    assert snapshot(tmp_path) == before
    assert {item.status for item in looked.items} == {"to_change"}
    done = set_up(everything(tmp_path))
    key = [(item.id, item.summary, item.before, item.after, item.diff) for item in looked.items]
    assert key == [
        (item.id, item.summary, item.before, item.after, item.diff) for item in done.items
    ]


def test_nothing_is_done_without_a_go_ahead(set_up: Setup, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    result = set_up(everything(tmp_path), go_ahead=lambda host, plan: False)
    assert result.status == "declined"
    assert snapshot(tmp_path) == before


def test_nobody_is_asked_where_nothing_is_to_do(set_up: Setup, tmp_path: Path) -> None:
    set_up(everything(tmp_path))
    asked: list[str] = []
    assert (
        set_up(everything(tmp_path), go_ahead=lambda host, plan: asked.append(host)).status == "ok"
    )
    assert asked == []


def test_a_damaged_item_alone_is_repaired(set_up: Setup, tmp_path: Path) -> None:
    set_up(everything(tmp_path))
    (tmp_path / "d").chmod(0o777)
    result = set_up(everything(tmp_path))
    assert [item.id for item in result.items if item.status == "changed"] == [
        f"directory {tmp_path}/d"
    ]
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o750


@given(
    have=st.dictionaries(st.sampled_from("abc"), st.binary(max_size=30)),
    want=st.dictionaries(st.sampled_from("abc"), st.text("x\ny é", max_size=30)),
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_files_become_what_is_wanted(
    set_up: Setup,
    tmp_path_factory: pytest.TempPathFactory,
    have: dict[str, bytes],
    want: dict[str, str],
) -> None:
    root = tmp_path_factory.mktemp("any")
    for name, old in have.items():
        (root / name).write_bytes(old)
    items = [File(path=f"{root}/{name}", content=text, owner=ME) for name, text in want.items()]
    assert set_up(items).status == "ok"
    now = {path.name: path.read_bytes() for path in root.iterdir()}
    assert now == have | {name: text.encode() for name, text in want.items()}
    assert set_up(items).count("unchanged") == len(items)


# -- what is told --------------------------------------------------------------------------------


def test_events_come_in_order(set_up: Setup, tmp_path: Path, told: list[Event]) -> None:
    items = [Directory(path=f"{tmp_path}/d", owner=ME), File(path=f"{tmp_path}/d/f", owner=ME)]
    set_up(items)
    assert [type(event) for event in told] == [
        Connected,
        PlanMade,
        StepBegun,
        ItemDone,
        StepBegun,
        ItemDone,
        HostDone,
    ]


def test_each_change_is_recorded_before_it_is_made(set_up: Setup, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    seen: list[tuple[str, object, str]] = []

    def record(host: str, changes: Sequence[tuple[Resource, Change]]) -> None:
        for item, change in changes:
            seen.append((item.id, change.backup, (tmp_path / "f").read_text()))

    set_up([File(path=f"{tmp_path}/f", content="new", owner=ME)], record=record)
    assert seen == [(f"file {tmp_path}/f", {f"{tmp_path}/f": b"old"}, "old")]
    assert (tmp_path / "f").read_text() == "new"


def test_nothing_is_changed_where_the_record_cannot_be_written(
    set_up: Setup, tmp_path: Path
) -> None:
    def record(host: str, changes: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        set_up([File(path=f"{tmp_path}/f", content="new", owner=ME)], record=record)
    assert not (tmp_path / "f").exists()


# -- failures ------------------------------------------------------------------------------------


def failing(root: Path) -> list[Resource]:
    return [
        File(path=f"{root}/first", owner=ME),
        Command(name="no", run="echo '\x1b[31mthe reason\x1b[0m' >&2; exit 4", unless="false"),
        File(path=f"{root}/third", owner=ME),
    ]


def test_the_first_failure_ends_it_and_tells_why(set_up: Setup, tmp_path: Path) -> None:
    result = set_up(failing(tmp_path))
    assert result.status == "failed"
    assert [item.status for item in result.items] == ["changed", "failed", "not_reached"]
    assert result.items[1].error == "the reason"
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "third").exists()


def test_a_silent_failure_tells_its_status(set_up: Setup) -> None:
    result = set_up([Command(name="no", run="exit 7", unless="false")])
    assert result.items[0].error == "exit status 7, no message"


def test_a_change_that_changes_nothing_is_a_failure(set_up: Setup) -> None:
    result = set_up([Command(name="no", run="true", unless="false")])
    assert result.status == "failed"
    assert "went through, but this is still to do: run" in result.items[0].error


def test_what_cannot_be_ends_it_there_and_what_is_before_is_done(
    set_up: Setup, tmp_path: Path
) -> None:
    items = [
        File(path=f"{tmp_path}/first", owner=ME),
        File(path=f"{tmp_path}/no/x", owner=ME),
        File(path=f"{tmp_path}/third", owner=ME),
    ]
    result = set_up(items)
    assert [item.status for item in result.items] == ["changed", "failed", "not_reached"]
    assert "directory: " in result.items[1].error
    looked = set_up(items, check=True)
    assert looked.status == "failed"
    assert [item.status for item in looked.items] == ["unchanged", "failed", "to_change"]


@pytest.mark.parametrize("run", ["if", ")", "'", "}", "exit 1\n)\necho @@"])
def test_a_mistake_in_a_command_is_its_own(set_up: Setup, tmp_path: Path, run: str) -> None:
    result = set_up(
        [
            File(path=f"{tmp_path}/first", owner=ME),
            Command(name="broken", run=run + " (", unless=run),
        ]
    )
    assert [item.status for item in result.items] == ["changed", "failed"], result
    assert result.items[1].error


def test_a_file_that_appears_meanwhile_is_looked_at_again(set_up: Setup, tmp_path: Path) -> None:
    """As when a package brings a file that a later item writes too."""
    path = tmp_path / "conf"
    items = [
        Command(name="package", run=f"echo brought >{path}", unless=f"[ -s {path} ]"),
        File(path=str(path), content="ours\n", owner=ME),
    ]
    result = set_up(items)
    assert (result.status, path.read_text()) == ("ok", "ours\n")
    assert [item.status for item in result.items] == ["changed", "changed"]
    assert result.items[1].before.startswith("file ")


def test_a_file_that_never_stays_the_same_fails_in_the_end(set_up: Setup, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    items = [
        Command(name="other", run=f"echo $$ >{path}", unless=f"[ -e {tmp_path}/never ]"),
        File(path=str(path), content="ours\n", owner=ME),
    ]
    result = set_up(items)
    assert result.status == "failed"
    assert "changed since it was looked at" in result.items[1].error
    assert result.round_trips < 12


# -- logins --------------------------------------------------------------------------------------


class Door(Command):
    """A change that could lock us out."""

    kind: ClassVar[str] = "door"
    proves_login: ClassVar[bool] = True
    put_back: str = "false"

    def revert(self, change: Change) -> str:
        """Put the old state back."""
        return self.put_back


def door(root: Path, **more: str) -> Door:
    return Door(
        name="lock",
        run=f"echo closed >{root}/door",
        unless=f"grep -q closed {root}/door",
        **{"put_back": f"echo open >{root}/door", **more},
    )


def test_a_login_is_proved_before_and_after(
    set_up: Setup, tmp_path: Path, told: list[Event]
) -> None:
    states: list[bool] = []
    result = set_up(
        [door(tmp_path)], prove_login=lambda: states.append((tmp_path / "door").exists())
    )
    assert result.status == "ok"
    assert states == [False, True]
    assert sum(isinstance(event, Note) for event in told) == 2


def test_without_a_login_before_nothing_is_changed(set_up: Setup, tmp_path: Path) -> None:
    def prove() -> None:
        raise UnreachableError("no key was let in")

    result = set_up([door(tmp_path), File(path=f"{tmp_path}/next", owner=ME)], prove_login=prove)
    assert result.status == "failed"
    assert "before the change (no key was let in)" in result.items[0].error
    assert list(tmp_path.iterdir()) == []


def test_where_no_login_can_be_proved_nothing_is_changed(set_up: Setup, tmp_path: Path) -> None:
    result = set_up([door(tmp_path)])
    assert "there is no way to try it from here" in result.items[0].error
    assert list(tmp_path.iterdir()) == []


def test_without_a_login_after_the_old_state_is_put_back(
    set_up: Setup, tmp_path: Path, told: list[Event]
) -> None:
    calls: list[int] = []

    def prove() -> None:
        calls.append(1)
        if len(calls) == 2:
            assert (tmp_path / "door").read_text() == "closed\n"
            raise UnreachableError("no key was let in")

    result = set_up([door(tmp_path), File(path=f"{tmp_path}/next", owner=ME)], prove_login=prove)
    assert [item.status for item in result.items] == ["failed", "not_reached"]
    assert "after the change (no key was let in)" in result.items[0].error
    assert "logins are as they were before" in result.items[0].error
    assert (tmp_path / "door").read_text() == "open\n"
    assert not (tmp_path / "next").exists()
    failed = [e for e in told if isinstance(e, ItemDone) and e.result.status == "failed"]
    assert len(failed) == 1


def test_an_old_state_that_cannot_be_put_back_is_told(set_up: Setup, tmp_path: Path) -> None:
    calls: list[int] = []

    def prove() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise UnreachableError("no key was let in")

    result = set_up([door(tmp_path, put_back="echo disk full >&2; exit 1")], prove_login=prove)
    error = result.items[0].error
    assert "could not be put back" in error
    assert "disk full" in error
    assert "as they were before" not in error


# -- other runs ----------------------------------------------------------------------------------


def test_one_labctl_at_a_time_changes_a_machine(set_up: Setup, tmp_path: Path, lock: Path) -> None:
    holder = subprocess.Popen(
        ["flock", str(lock), "sh", "-c", "echo held; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        items = [File(path=f"{tmp_path}/f", owner=ME)]
        result = set_up(items)
        assert result.status == "busy"
        assert "another labctl" in result.error
        assert not (tmp_path / "f").exists()
        assert set_up(items, check=True).status == "ok"  # looking disturbs nobody
    finally:
        holder.communicate(b"\n", timeout=20)
    assert set_up(items).status == "ok"


def test_what_a_step_starts_does_not_hold_the_lock(set_up: Setup, tmp_path: Path) -> None:
    items = [
        Command(
            name="daemon",
            run=f"sleep 60 >/dev/null 2>&1 </dev/null & echo $! >{tmp_path}/pid",
            unless=f"[ -e {tmp_path}/pid ]",
        )
    ]
    try:
        assert set_up(items).status == "ok"
        assert set_up([File(path=f"{tmp_path}/f", owner=ME)]).status == "ok"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 9)


KILLED = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_engine import Here, killed_items
from labctl.setup import engine
from labctl.setup.engine import Hooks, HostRun
engine._LOCK = {lock!r}
HostRun("box", killed_items(Path({root!r})), Here, Hooks(emit=lambda event: None)).run()
"""


def killed_items(root: Path) -> list[Resource]:
    """Return items of which the second waits for a word."""
    return [
        File(path=f"{root}/first", content="1", owner=ME),
        Command(
            name="slow",
            run=f"echo $$ >{root}/begun; read x <{root}/gate; echo 2 >{root}/second",
            unless=f"[ -s {root}/second ]",
        ),
        File(path=f"{root}/third", content="3", owner=ME),
    ]


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_killed_run_is_completed_by_the_next(set_up: Setup, tmp_path: Path, lock: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    program = KILLED.format(here=str(Path(__file__).parent), root=str(tmp_path), lock=engine._LOCK)
    process = subprocess.Popen([sys.executable, "-c", program])
    wait_until((tmp_path / "begun").exists)
    process.kill()
    process.wait(20)
    # The item in flight goes on to its end and holds the lock till then; no other one begins.
    assert set_up(killed_items(tmp_path)).status == "busy"
    (tmp_path / "gate").write_text("go\n")
    wait_until((tmp_path / "second").exists)
    wait_until(lambda: subprocess.run(["flock", "-n", lock, "true"], check=False).returncode == 0)
    assert not (tmp_path / "third").exists()
    result = set_up(killed_items(tmp_path))
    assert result.status == "ok"
    assert [item.status for item in result.items] == ["unchanged", "unchanged", "changed"]


def test_calling_it_off_stops_after_the_item_in_flight(set_up: Setup, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    off = threading.Event()
    results: list[HostResult] = []
    thread = threading.Thread(
        target=lambda: results.append(set_up(killed_items(tmp_path), cancelled=off.is_set))
    )
    thread.start()
    wait_until((tmp_path / "begun").exists)
    off.set()
    thread.join(20)
    assert not thread.is_alive()
    assert results[0].status == "interrupted"
    assert [item.status for item in results[0].items] == ["changed", "not_reached", "not_reached"]
    (tmp_path / "gate").write_text("go\n")
    wait_until((tmp_path / "second").exists)
    assert not (tmp_path / "third").exists()


# -- broken sessions -----------------------------------------------------------------------------


class Changed(Here):
    """A session whose output is changed on the way.

    Args:
        change: Gets all output of a script and the number of the script, gives the output.
    """

    def __init__(self, change: Callable[[bytes, int], bytes]) -> None:
        super().__init__()
        self.change = change

    def start(self, command: str) -> Stream:
        """Run it to its end, then hand out what `change` makes of it."""
        return _Whole(super().start(command), lambda data: self.change(data, self.round_trips))


class _Whole(Stream):
    def __init__(self, inner: Stream, change: Callable[[bytes], bytes]) -> None:
        self._inner = inner
        self._change = change
        self._pieces: Iterator[bytes] | None = None

    def send(self, data: bytes) -> None:
        self._inner.send(data)

    def send_eof(self) -> None:
        self._inner.send_eof()

    def receive(self, timeout: float) -> bytes:
        if self._pieces is None:
            data = b""
            while piece := self._inner.receive(20):
                data += piece
            self._pieces = iter([self._change(data), b""])
        return next(self._pieces, b"")

    def exit_status(self, timeout: float) -> int:
        return self._inner.exit_status(timeout)

    def close(self) -> None:
        self._inner.close()


def test_noise_before_the_script_does_no_harm(set_up: Setup, tmp_path: Path) -> None:
    noise = b"Welcome!\n\x1b[31mfrom .bashrc\x1b[0m no newline"
    result = set_up(everything(tmp_path), session=lambda: Changed(lambda data, _: noise + data))
    assert result.status == "ok"


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_connection_cut_while_looking(set_up: Setup, tmp_path: Path, keep: float) -> None:
    before = snapshot(tmp_path)

    def cut(data: bytes, number: int) -> bytes:
        return data[: int(len(data) * keep)]

    result = set_up(everything(tmp_path), session=lambda: Changed(cut))
    assert result.status == "unreachable"
    assert "broke in mid script" in result.error
    assert snapshot(tmp_path) == before


def test_a_connection_cut_while_changing_keeps_what_was_heard(
    set_up: Setup, tmp_path: Path
) -> None:
    def cut(data: bytes, number: int) -> bytes:
        return data if number == 1 else data[: data.index(b"begin step 2")]

    items = killed_items(tmp_path)
    (tmp_path / "gate").write_text("go\n")
    result = set_up(items, session=lambda: Changed(cut))
    assert result.status == "unreachable"
    assert [item.status for item in result.items] == ["changed", "changed", "not_reached"]


@pytest.mark.parametrize(
    "said",
    [b"", b"This account is currently not available.\n", bytes(range(256)) * 3, b"\x1b]0;x\x07"],
)
def test_a_shell_that_runs_nothing(set_up: Setup, tmp_path: Path, said: bytes) -> None:
    result = set_up(everything(tmp_path), session=lambda: Changed(lambda data, number: said))
    assert result.status == "unreachable"
    assert "normal login shell" in result.error
    assert not any(unicodedata.category(char) == "Cc" for char in result.error)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("word", [b"S ", b"end 0", b"fact path"])
def test_garbage_between_the_marks_is_a_failure_of_that_machine(
    set_up: Setup, tmp_path: Path, word: bytes, number: int
) -> None:
    def garble(data: bytes, script: int) -> bytes:
        return data.replace(word, b"S \xff\x00 x ") if script == number else data

    result = set_up([File(path=f"{tmp_path}/f", owner=ME)], session=lambda: Changed(garble))
    assert result.status in ("failed", "unreachable")
    assert result.error or result.items[0].error


def test_a_machine_that_is_not_reached(set_up: Setup, told: list[Event]) -> None:
    def connect() -> Session:
        raise UnreachableError("no answer", thing="box", action="is it on?")

    result = set_up([], session=connect)
    assert (result.status, result.error) == ("unreachable", "box: no answer; is it on?")
    assert isinstance(told[-1], HostDone)


def test_a_script_that_takes_too_long(
    set_up: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STAGE_DEADLINE_S", 0.5)
    os.mkfifo(tmp_path / "gate")
    began = time.monotonic()
    result = set_up(killed_items(tmp_path))
    assert time.monotonic() - began < 10
    assert result.status == "unreachable"
    assert "no end of the script within" in result.error
    (tmp_path / "gate").write_text("go\n")


def test_an_error_of_a_hook_that_is_ours_is_told(set_up: Setup, tmp_path: Path) -> None:
    def record(host: str, changes: object) -> None:
        raise LabctlError("the journal is gone")

    result = set_up([File(path=f"{tmp_path}/f", owner=ME)], record=record)
    assert (result.status, result.error) == ("failed", "the journal is gone")
