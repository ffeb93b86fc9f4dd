"""A job refuses a bitstream that is too slow before the board is touched; --force writes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from simulated import SimulatedBench, patch_time

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.job import FlashJob
from labctl.boards.flash.method import Progress, RefusedError

DATA = (0x20005000).to_bytes(4, "little") + (0x08000009).to_bytes(4, "little") + bytes(range(200))


def test_refused_before_the_board_is_touched_and_written_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "blink.bin"
    path.write_bytes(DATA)
    record = {
        "schema": "labctl.bitstream/1",
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "timing": "failed",
    }
    (tmp_path / "blink.bin.json").write_text(json.dumps(record))
    entry = {"method": "stm32-uart", "region": "flash"}
    reset = {
        "signals": [{"dtr": True, "rts": True, "seconds": 0.02}, {"dtr": False}],
        "loader": [{"dtr": True, "rts": False, "seconds": 0.02}, {"dtr": False}],
    }
    bench = SimulatedBench(
        "stm32-nucleo-f446re", tmp_path / "line", settings={"flash": [entry], "reset": reset}
    )
    patch_time(monkeypatch, bench)
    job = FlashJob(bench, None, Image(path, "raw", (Segment(0, DATA),)))  # type: ignore[arg-type]
    before = bench.line.offset
    with pytest.raises(RefusedError, match="too slow"):
        job.plan()
    assert (bench.line.offset, bench.line.notes) == (before, [])
    assert job.run(job.plan(force=True), Progress()).written
