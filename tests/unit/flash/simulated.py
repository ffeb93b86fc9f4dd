"""A bench whose board is simulated in this process: real methods, real jobs, no real time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.job import FlashJob, Result
from labctl.boards.flash.method import Progress
from labctl.boards.model import load_model
from labctl.boards.owner.place import Place
from labctl.inventory.model import Board
from labctl.vlab.rom.inprocess import Line


class SimulatedLine(Line):
    """The line of a simulated board, with what `labctl.boards.client.LineClient` has besides."""

    def __init__(self, settings: Mapping[str, object], folder: Path) -> None:
        super().__init__({"flash_time": 0.0, "paced": False, **settings})
        self.place = Place("simulated", folder)
        self.place.folder.mkdir(parents=True)
        self.notes: list[str] = []

    def note(self, event: str, **details: object) -> int:
        self.notes.append(event)
        return self.offset

    def follow(self, offset: int | None = None) -> int:
        return self.offset


class SimulatedBench:
    """What methods and jobs need of a `labctl.boards.bench.Bench`."""

    def __init__(
        self,
        model: str,
        folder: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        chip: Mapping[str, object] | None = None,
    ) -> None:
        self.board = Board("board", model, settings=dict(settings or {}))
        self.name = "board"
        self.model = load_model(self.board, None)
        self.line = SimulatedLine(chip or {}, folder)
        self.power = None
        self.line.board.power(True)

    def acquire(self, what: str, *, wait_s: float = 0.0) -> None:
        """Nobody else wants it."""


def patch_time(monkeypatch: pytest.MonkeyPatch, bench: SimulatedBench) -> None:
    """Let pulses on the signals take simulated time."""
    monkeypatch.setattr(
        "labctl.boards.flash.signals.time",
        SimpleNamespace(sleep=bench.line.idle),
    )


def flash(bench: SimulatedBench, data: bytes, **options: Any) -> Result:
    """Flash ``data`` as `labctl flash` does."""
    image = Image(Path("image"), "raw", (Segment(0, data),))
    method = options.pop("method", None)
    job = FlashJob(bench, None, image, method=method)  # type: ignore[arg-type]
    return job.run(job.plan(**options), Progress())
