"""``labctl gpu run`` on this machine: cards are held, pinned, and given back on any end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_reports import card

from labctl.facts.gpu.card import GpuFacts, make_card
from labctl.facts.value import Known
from labctl.gpu import bookings, store
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.run import run_here
from labctl.vlab.nvml.build import SCENARIO_VARIABLE

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(library: Path, tmp_path: Path) -> Start:
    scenario = tmp_path / "scenario"
    scenario.write_text("driver 999.1\n" + card(0) + card(1))

    def run(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "labctl", "gpu", *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "LD_LIBRARY_PATH": str(library.parent),
                SCENARIO_VARIABLE: str(scenario),
                "LABCTL_GPU_DB": str(tmp_path / "gpu.sqlite"),
                "SUDO_USER": "ann",
            },
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def done(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def held(start: Start) -> list[str]:
    _, out, _ = done(start("bookings", "--json"))
    return [entry["name"] for entry in json.loads(out)["bookings"]]


def test_it_pins_by_uuid_and_ends_as_the_command_does(start: Start) -> None:
    code, out, err = done(start("run", "--count", "2", "--", "sh", "-c",
                                "echo $CUDA_VISIBLE_DEVICES; exit 7"))  # fmt: skip
    assert (code, out) == (7, "GPU-0,GPU-1\n")
    assert "local, GPU 0, 1" in err
    assert held(start) == []


def test_a_command_that_a_signal_ends(start: Start) -> None:
    assert done(start("run", "--", "sh", "-c", "kill -9 $$"))[0] == 137


def test_a_command_that_does_not_exist(start: Start) -> None:
    code, _, err = done(start("run", "--", "no-such-command"))
    assert code == 2
    assert "no-such-command: No such file" in err
    assert held(start) == []


def test_two_at_once_get_different_cards_and_a_third_none(start: Start, tmp_path: Path) -> None:
    wait = "echo $CUDA_VISIBLE_DEVICES > {}; until [ -e go ]; do sleep 0.05; done"
    first = start("run", "--", "sh", "-c", wait.format("one"))
    second = start("run", "--", "sh", "-c", wait.format("two"))
    seen = [tmp_path / "one", tmp_path / "two"]
    until(lambda: all(file.is_file() and file.read_text() for file in seen))
    assert sorted(file.read_text().strip() for file in seen) == ["GPU-0", "GPU-1"]
    assert sorted(held(start)) == ["0", "1"]
    code, out, _ = done(start("free", "local"))
    assert (code, out) == (1, "")
    assert done(start("run", "--timeout", "1s", "--every", "1s", "--", "true"))[0] == 1
    assert done(start("release"))[1] == "no bookings\n"  # what runs is not released by hand
    (tmp_path / "go").touch()
    assert (done(first)[0], done(second)[0]) == (0, 0)
    assert held(start) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_labctl_ends_the_command_and_frees_the_card(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("run", "--", "sh", "-c", "echo $$ > pid; sleep 600 & wait")
    file = tmp_path / "pid"
    until(lambda: file.is_file() and file.read_text())
    process.send_signal(number)
    assert done(process)[0] == 130
    until(lambda: not Path(f"/proc/{file.read_text().strip()}").exists())
    assert held(start) == []


def test_a_lease_ends_by_itself_when_labctl_is_gone_without_a_word(tmp_path: Path) -> None:
    reading = Reading("gpu1", GpuFacts("x"))
    unit = Unit(make_card({"uuid": Known("GPU-0")}))
    with store.opened(tmp_path / "db") as database:
        taken = bookings.take(
            database, [(reading, unit)], person="ann", now=1000, until=1300, note=""
        )
        assert taken is not None
        again = bookings.take(
            database, [(reading, unit)], person="ann", now=1001, until=1301, note=""
        )
        assert again is None
        assert bookings.holding(database, reading, unit, now=1299) is not None
        assert bookings.holding(database, reading, unit, now=1300) is None


def test_a_signal_while_it_is_started_ends_it_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Slow(subprocess.Popen[bytes]):
        """Returns late: the command runs, and nobody has its number yet."""

        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    with pytest.raises(KeyboardInterrupt):
        run_here(["sleep", "600"], {})
    assert started[0].returncode == -signal.SIGTERM
