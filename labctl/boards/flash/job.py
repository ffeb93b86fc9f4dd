"""One flash from end to end: plan, identify, skip or write, verify, record.

The order is what makes it safe: everything that can refuse comes before the first erase, and what
was begun is in the journal before it is begun. So a run that was killed is known to the next one,
which compares what is there and writes the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.boards.bench import Bench
from labctl.boards.flash.bitstream import check_timing
from labctl.boards.flash.checks import check, check_image
from labctl.boards.flash.identity import IdentityBook, check_model
from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import (
    Comparison,
    Identity,
    Method,
    Progress,
    Route,
    VerifyError,
)
from labctl.boards.flash.planner import choose
from labctl.boards.owner.journal import read_journal
from labctl.errors import LabctlError

_BEGUN, _ENDED = "flash begun", "flash ended"


@dataclass(frozen=True)
class Plan:
    """What a flash will do.

    Attributes:
        image: What is written.
        method: By what.
        passed_over: Why methods that come first were not taken.
        segments: What goes where.
        identity: What the board says of itself.
        comparison: What is there now, against what is wanted.
        route: How it gets there; None where nothing is to do.
        unfinished: What an earlier run left undone, or None.
    """

    image: Image
    method: Method
    passed_over: Sequence[str]
    segments: Sequence[Segment]
    identity: Identity
    comparison: Comparison
    route: Route | None
    unfinished: dict[str, Any] | None


@dataclass(frozen=True)
class Result:
    """What a flash did.

    Attributes:
        written: False where the board had it already.
        digest: What the board has now, as it was read back.
        size: Bytes of the image.
        seconds: All of it, from the first byte sent.
    """

    written: bool
    digest: Comparison
    size: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes of the image per second."""
        return self.size / self.seconds if self.seconds else 0.0


class FlashJob:
    """Flashes one board.

    Args:
        bench: The board.
        inventory: The inventory file.
        image: What to write.
        to: Name of the place, or None for the first one of the model.
        method: Name of the method, or None for the first that can be used.
        via: Way to the board, for methods that know several.
        new_board: The board is known to be another one than the last time.
        say: Gets a line for each step that takes a while.
    """

    def __init__(
        self,
        bench: Bench,
        inventory: Path | None,
        image: Image,
        *,
        to: str | None = None,
        method: str | None = None,
        via: str | None = None,
        new_board: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._bench = bench
        self._image = image
        self._new_board = new_board
        self._book = IdentityBook(bench.board, inventory)
        self._method, self._passed_over = choose(
            bench, image, to=to, method=method, via=via, say=say
        )
        self._started = time.monotonic()

    @property
    def method(self) -> Method:
        """What flashes it."""
        return self._method

    def plan(self, *, wait_s: float = 0.0, force: bool = False) -> Plan:
        """Find out what is to do; nothing that lasts is changed, but the board may be restarted.

        Args:
            wait_s: Wait so long for whoever holds the line.
            force: Plan as if nothing were there, and take a bitstream that is too slow.

        Raises:
            RefusedError: The image or the board is the wrong one.
            LabctlError: The board cannot be brought to where it is written.
        """
        method, bench = self._method, self._bench
        method.rewrite = force
        if not force:
            check_timing(self._image.path)
        check_image(self._image, bench.model, method.target, method.accepts)
        segments = method.layout(self._image)
        check(self._image, bench.model, method.target, segments)
        unfinished = unfinished_flash(read_journal(bench.line.place.events))
        bench.acquire(f"flash {self._image.path.name}", wait_s=wait_s)
        self._started = time.monotonic()
        try:
            identity = method.connect()
            check_model(identity, bench.model, bench.name)
            self._book.check(identity, new_board=self._new_board)
            comparison = method.same(segments)
            skip = comparison.same and not force
            route = None if skip else method.route(segments)
        except BaseException:
            method.abort()
            raise
        return Plan(self._image, method, self._passed_over, segments, identity, comparison, route,
                    unfinished)  # fmt: skip

    def run(self, plan: Plan, progress: Progress) -> Result:
        """Do what ``plan`` says.

        Raises:
            FlashError: It could not be written, or does not read back.
        """
        method, line = self._method, self._bench.line
        about = {
            "image": str(self._image.path), "sha256": self._image.sha256, "to": method.target.name,
            "method": method.name, "bytes": self._image.size,
        }  # fmt: skip
        try:
            if plan.route is None:
                method.finish()
                self._book.remember(plan.identity, new_board=self._new_board)
                line.note("flash unchanged", **about)
                return Result(False, plan.comparison, self._image.size, self._seconds())
            line.note(_BEGUN, **about)
            method.write(plan.segments, progress)
            digest = method.verify(plan.segments, progress)
            if digest.same is False:
                raise VerifyError("what it reads back is not what was written",
                                  thing=self._bench.name, action="run it again")  # fmt: skip
            method.finish()
        except BaseException as error:
            method.abort()
            cause = error.cause if isinstance(error, LabctlError) else type(error).__name__
            _note_failure(self._bench, about, cause)
            raise
        self._book.remember(plan.identity, new_board=self._new_board)
        line.note(_ENDED, ok=True, seconds=round(self._seconds(), 2), digest=digest.now, **about)
        return Result(True, digest, self._image.size, self._seconds())

    def _seconds(self) -> float:
        return time.monotonic() - self._started


def _note_failure(bench: Bench, about: dict[str, Any], cause: str) -> None:
    try:
        bench.line.note(_ENDED, ok=False, cause=cause, **about)
    except LabctlError:
        return  # the owner has gone with the line; "begun" without an end says the same


def unfinished_flash(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last flash of a line's journal if it did not come to a good end, or None."""
    last: dict[str, Any] | None = None
    for entry in entries:
        if entry["event"] == _BEGUN:
            last = entry
        elif entry["event"] == _ENDED:
            last = None if entry.get("ok") else entry
    return last
