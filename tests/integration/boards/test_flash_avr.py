"""labctl flash on an AVR: the virtual Uno, its real boot loader, the real avrdude."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import avr_lab
import pytest
from avr_lab import BLINK, GREETING, Uno

from labctl.boards.attach import place_of
from labctl.boards.bench import Bench
from labctl.boards.flash.image import Image, Segment, read_image
from labctl.boards.flash.job import FlashJob, Result
from labctl.boards.flash.method import OtherBoardError, Progress, RefusedError
from labctl.boards.owner import start
from labctl.boards.owner.journal import read_journal
from labctl.errors import LabctlError, UnreachableError
from labctl.inventory.model import Board

pytestmark = pytest.mark.skipif(bool(avr_lab.why_not()), reason=avr_lab.why_not() or "there")

DEADLINE_S = 60.0
LOADER = slice(0x7E00, 0x8000)


@pytest.fixture
def uno(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uno]:
    for name in ("STATE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    folder = tmp_path / "uno"
    folder.mkdir()
    with avr_lab.running(folder) as one:
        yield one


@pytest.fixture
def board(uno: Uno) -> Iterator[Board]:
    made = Board("uno", "arduino-uno", line=str(uno.line), monitor=str(uno.monitor))
    yield made
    start.stop(place_of(made))


def program(size: int, seed: int = 1) -> Image:
    """Return an image that is no program; the boot loader does not care."""
    data = random.Random(seed).randbytes(size)
    return Image(Path("test.bin"), "raw", (Segment(0, data),))


def blink(tmp_path: Path) -> Image:
    raw = tmp_path / "blink.bin"
    subprocess.run(
        ["avr-objcopy", "-I", "ihex", "-O", "binary", str(BLINK / "blink.hex"), str(raw)],
        check=True, timeout=60,
    )  # fmt: skip
    return read_image(raw)


def flash(
    bench: Bench, image: Image, *, when: Callable[[str, int, int], None] = lambda *_: None
) -> Result:
    job = FlashJob(bench, None, image)
    return job.run(job.plan(), Progress(when))


def heard(bench: Bench, words: bytes, begin: int) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        record = bench.line.record
        end = bench.line.status().end
        if words in b"".join(piece.data for piece in record.pieces(begin, end)):
            return True
        time.sleep(0.05)
    return False


def test_it_is_written_greets_and_is_left_alone_the_next_time(
    uno: Uno, board: Board, tmp_path: Path
) -> None:
    loader = uno.flash[LOADER]
    image = blink(tmp_path)
    with Bench(board, None) as bench:
        begin = bench.line.status().end
        result = flash(bench, image)
        assert result.written
        assert result.digest.same
        assert uno.flash[: image.size] == image.segments[0].data
        assert heard(bench, GREETING, begin)
        again = flash(bench, image)
        assert not again.written
        other = flash(bench, program(700))
        assert other.written
        assert uno.flash[:700] == program(700).segments[0].data
        assert bench.line.status().open
    assert uno.flash[LOADER] == loader
    events = [one["event"] for one in read_journal(place_of(board).events)]
    assert events.count("lent") == events.count("returned") > 0


def test_what_does_not_fit_is_refused_before_anything_is_touched(board: Board, uno: Uno) -> None:
    with Bench(board, None) as bench:
        with pytest.raises(RefusedError, match="boot loader"):
            flash(bench, program(0x7E01))
        with pytest.raises(RefusedError, match="too large"):
            flash(bench, program(0x8001))
    assert uno.flash[:0x7E00] == b"\xff" * 0x7E00


def test_another_chip_is_refused(uno: Uno, tmp_path: Path) -> None:
    settings = {"chip": "atmega168", "flash": [
        {"to": "flash", "method": "avrdude", "part": "atmega168", "baud": 115200}]}  # fmt: skip
    made = Board("uno", "arduino-uno", line=str(uno.line), settings=settings)
    try:
        with Bench(made, None) as bench, pytest.raises(OtherBoardError, match="no atmega168"):
            flash(bench, program(100))
    finally:
        start.stop(place_of(made))
    assert uno.flash[:0x7E00] == b"\xff" * 0x7E00


def test_a_board_without_power_is_named(board: Board, uno: Uno) -> None:
    uno.tell("stop")
    with Bench(board, None) as bench:
        with pytest.raises(UnreachableError, match="does not answer at 115200 baud"):
            flash(bench, program(100))
        assert bench.line.status().open


@pytest.mark.parametrize("seed", range(2))
def test_power_that_is_cut_while_it_writes_harms_nothing_else(
    board: Board, uno: Uno, seed: int
) -> None:
    loader = uno.flash[LOADER]
    image = program(3000, seed)
    cut_at = random.Random(seed).randrange(1, 23) * 128

    def cut() -> None:
        while uno.flash[cut_at - 128 : cut_at] != image.segments[0].data[cut_at - 128 : cut_at]:
            if done.is_set():
                return
        uno.tell("stop")

    done = threading.Event()
    cutter = threading.Thread(target=cut)
    with Bench(board, None) as bench:
        cutter.start()
        try:
            with pytest.raises(LabctlError):
                flash(bench, image)
        finally:
            done.set()
            cutter.join(DEADLINE_S)
        assert bench.line.status().open
        assert uno.flash[0x2000:0x7E00] == b"\xff" * (0x7E00 - 0x2000)
        uno.tell("cont")
        assert flash(bench, image).written
    assert uno.flash[:3000] == image.segments[0].data
    assert uno.flash[LOADER] == loader


COMMAND = """
import sys, pathlib
from labctl.boards.bench import Bench
from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.job import FlashJob
from labctl.boards.flash.method import Progress
from labctl.inventory.model import Board
image = Image(pathlib.Path("t.bin"), "raw", (Segment(0, bytes(range(256)) * 100),))
with Bench(Board("uno", "arduino-uno", line=sys.argv[1]), None) as bench:
    job = FlashJob(bench, None, image)
    job.run(job.plan(), Progress(lambda phase, done, total: print(phase, done, flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_it_leaves_no_avrdude_and_a_line_that_is_open(
    board: Board, uno: Uno, number: signal.Signals
) -> None:
    with Bench(board, None) as bench:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(uno.line)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            if line.startswith("write") and not line.startswith("write 0"):
                break
        process.send_signal(number)
        process.wait(DEADLINE_S)
        deadline = time.monotonic() + DEADLINE_S
        while not bench.line.status().open or avrdudes(uno):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        image = program(500)
        assert flash(bench, image).written


def avrdudes(uno: Uno) -> list[str]:
    """Return the processes of avrdude that have this board's port."""
    device = str(uno.line.resolve())
    found = []
    for entry in os.scandir("/proc"):
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"avrdude") and device.encode() in words:
            found.append(entry.name)
    return found
