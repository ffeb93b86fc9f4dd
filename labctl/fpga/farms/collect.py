"""Run tasks on a farm: cut them into groups, collect what comes, run again what was lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labctl.fpga.engines.base import Ended, Task
from labctl.fpga.engines.triage import Hang
from labctl.fpga.engines.watch import Cancelled
from labctl.fpga.farms import groups
from labctl.fpga.farms.base import Farm, FarmMaker
from labctl.fpga.farms.groups import Group, LogReader
from labctl.fpga.toolchain import Toolchain

# So many groups for each place of the farm: the last ones end together, and few simulators start.
_GROUPS_A_SLOT = 3
# More are no better balanced, and each is a start that a scheduler has to make.
_MOST_GROUPS = 500
# A task that was in flight on so many machines that were lost is not tried again.
_TRIES = 3
_LOOK_S = 0.2
# Asking a scheduler costs it something: often at first, when everything is about to begin.
_ASK_FIRST_S, _ASK_S = 0.5, 2.0
# Results of an element that has gone may still be on their way through the file server.
_LATE_S = 2.0

Prepare = Callable[[int], None]
OnEnded = Callable[[int, Ended], None]


def run_on_farm(
    make: FarmMaker,
    tools: Toolchain,
    tasks: Sequence[Sequence[tuple[int, Task]]],
    folder: Path,
    *,
    renew: Prepare,
    on_ended: OnEnded,
    cancel: threading.Event,
) -> None:
    """Run ``tasks`` on a farm; return when there is an end for each.

    Args:
        make: Makes the farm.
        tools: The simulator, which the machines of the farm have at the same place.
        tasks: What is run, by number; those together that one simulator can serve.
        folder: An empty folder that the machines of the farm see at the same place.
        renew: Makes the folder of a task anew, which was lost in flight.
        on_ended: Called with each end as it comes.
        cancel: Set when nobody wants it any more.

    Raises:
        LabctlError: The farm refuses, or is not there.
        Cancelled: ``cancel`` was set; nothing of it runs any more.
    """
    if not any(tasks):
        return
    groups.touch_alive(folder)
    farm = make(folder)
    done = False
    try:
        _Collection(farm, tools, tasks, folder, renew, on_ended).run(cancel)
        done = True
    finally:
        # Also when all has ended: one that was taken for lost may still be at it.
        groups.stop(folder)
        farm.close(cancel=not done)


def cut(
    tasks: Sequence[Sequence[tuple[int, Task]]], slots: int
) -> list[tuple[tuple[int, Task], ...]]:
    """Return ``tasks`` cut into groups, each of tasks that one simulator can serve."""
    total = sum(len(some) for some in tasks)
    wished = min(_GROUPS_A_SLOT * slots, _MOST_GROUPS)
    size = max(1, math.ceil(total / wished))
    found = []
    for some in tasks:
        pieces = math.ceil(len(some) / size)
        for number in range(pieces):
            # Of nearly the same size, and not a last one that is nearly empty.
            first, last = (len(some) * part // pieces for part in (number, number + 1))
            found.append(tuple(some[first:last]))
    return found


class _Collection:
    """The groups that have not ended, and who has them."""

    def __init__(
        self,
        farm: Farm,
        tools: Toolchain,
        tasks: Sequence[Sequence[tuple[int, Task]]],
        folder: Path,
        renew: Prepare,
        on_ended: OnEnded,
    ) -> None:
        self._farm = farm
        self._tools = tools
        self._folder = folder
        self._renew = renew
        self._on_ended = on_ended
        self._number = 0
        self._open: dict[int, dict[int, Task]] = {}
        self._logs: dict[int, LogReader] = {}
        # When a group was first seen to be without an element; monotonic seconds.
        self._alone: dict[int, float] = {}
        self._losses: dict[int, int] = {}
        self._submit(cut(tasks, farm.slots()))

    def run(self, cancel: threading.Event) -> None:
        """Collect until all has ended."""
        asked = touched = began = time.monotonic()
        while self._open:
            if cancel.is_set():
                raise Cancelled
            self._read()
            now = time.monotonic()
            if now - touched > groups.TOUCH_S:
                groups.touch_alive(self._folder)
                touched = now
            if now - asked > (_ASK_FIRST_S if now - began < 10 * _ASK_S else _ASK_S):
                living = self._farm.living()
                asked = time.monotonic()
                if living is not None:
                    self._read()
                    self._look_for_lost(living)
            if self._open:
                cancel.wait(_LOOK_S)

    def _submit(self, pieces: Sequence[Sequence[tuple[int, Task]]]) -> None:
        first = self._number
        for piece in pieces:
            groups.write_group(self._folder, self._number, Group(self._tools, tuple(piece)))
            self._open[self._number] = dict(piece)
            self._logs[self._number] = LogReader(groups.log_file(self._folder, self._number))
            self._number += 1
        self._farm.submit(range(first, self._number))

    def _read(self) -> None:
        for number in list(self._open):
            left = self._open[number]
            for line in self._logs[number].new_lines():
                if left.pop(line.index, None) is not None:
                    self._on_ended(line.index, line.ended)
            if not left:
                del self._open[number]

    def _look_for_lost(self, living: frozenset[str]) -> None:
        now = time.monotonic()
        again: list[list[tuple[int, Task]]] = []
        for number in list(self._open):
            by = self._logs[number].by
            if by in living if by else living:
                self._alone.pop(number, None)
            elif now - self._alone.setdefault(number, now) > _LATE_S:
                # Nobody takes it any more: a late element would run it beside the new one.
                if by or groups.take(self._folder, number, "nobody", ""):
                    again += self._lost(number)
                else:
                    del self._alone[number]
        if again:
            self._submit(again)

    def _lost(self, number: int) -> list[list[tuple[int, Task]]]:
        """Give up on a group whose element has gone; return what of it is to be run again."""
        left, log = self._open.pop(number), self._logs[number]
        # The one that ran is the one that may be to blame; if none has begun, each of them.
        guilty = [next(iter(left))] if log.by else list(left)
        for index in guilty:
            self._losses[index] = self._losses.get(index, 0) + 1
            if self._losses[index] >= _TRIES:
                del left[index]
                self._on_ended(index, self._given_up(number, log))
        for index in left:
            self._renew(index)
        # By itself, so that it takes no others along the next time.
        suspects = [[(index, left.pop(index))] for index in guilty if index in left and log.by]
        return [*suspects, *([list(left.items())] if left else [])]

    def _given_up(self, number: int, log: LogReader) -> Ended:
        where = f" on {log.node}" if log.node else ""
        why = self._farm.why(log.by or str(number))
        said = f": {why}" if why else ""
        what = "what ran it has gone" if log.by else "it could not be started"
        return Ended(1, 0.0, Hang("lost", f"{what}{where}, {_TRIES} times{said}"))
