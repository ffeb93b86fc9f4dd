"""Programs of a simulated chip: generators that read, write and are busy; and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass


@dataclass(frozen=True)
class Read:
    """Wait for ``count`` bytes.

    Gets fewer where ``timeout`` seconds passed without them, or where ``until`` came: that byte is
    then the last one.
    """

    count: int
    timeout: float | None = None
    until: int | None = None


@dataclass(frozen=True)
class Write:
    """Send bytes."""

    data: bytes


@dataclass(frozen=True)
class Spend:
    """Be busy for so many seconds; what arrives meanwhile waits in the receiver, or is lost."""

    seconds: float


@dataclass(frozen=True)
class Restart:
    """Reset the chip; what was sent before still goes out."""


Step = Read | Write | Spend | Restart
Program = Generator[Step, bytes, None]


class Processor:
    """Runs one program after the other; time comes from the caller, in seconds of any clock.

    Args:
        boot: Makes the program that runs after a reset.
        fifo: Returns how many bytes the receiver keeps while the program is busy.

    Attributes:
        lost: Bytes that arrived while the receiver was full.
        busy_steps: How often the program was busy.
        on_output: Gets what is sent.
        on_busy: Asked when it begins to be busy whether it shall stand still there.
        stalled: It stands still in the middle of what it is busy with.
    """

    def __init__(self, boot: Callable[[], Program], *, fifo: Callable[[], int]) -> None:
        self._boot = boot
        self._fifo = fifo
        self._program: Program | None = None
        self._inbox = bytearray()
        self._waits: Read | None = None
        self._until: float | None = None
        self._busy = False
        self.lost = 0
        self.busy_steps = 0
        self.on_output: Callable[[bytes], None] = lambda data: None
        self.on_busy: Callable[[], bool] = lambda: False
        self.stalled = False

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._program is not None

    def start(self, now: float) -> None:
        """Begin after a reset; what was received is lost."""
        self.stop()
        self._program = self._boot()
        self._advance(None, now)

    def stop(self) -> None:
        """Take its power away."""
        if self._program is not None:
            self._program.close()
        self._program = None
        self._inbox.clear()
        self._waits, self._until, self._busy = None, None, False
        self.stalled = False

    def receive(self, data: bytes, now: float) -> None:
        """Take what arrived."""
        if self._program is None:
            return
        if self._busy and self._until is not None and now < self._until:
            room = max(0, self._fifo() - len(self._inbox))
            self.lost += max(0, len(data) - room)
            data = data[:room]
        self._inbox += data

    def run(self, now: float) -> None:
        """Let the program do what it can at ``now``."""
        while self._program is not None and not self.stalled:
            if self._busy:
                if self._until is not None and now < self._until:
                    return
                at = self._until if self._until is not None else now
                self._busy, self._until = False, None
                self._advance(b"", at)
                continue
            if self._waits is None:
                return
            count = self._available(self._waits)
            if count is None:
                if self._until is None or now < self._until:
                    return
                count = len(self._inbox)
            data = bytes(self._inbox[:count])
            del self._inbox[: len(data)]
            self._waits, self._until = None, None
            self._advance(data, now)

    def _available(self, wanted: Read) -> int | None:
        """Return how many of the bytes that are here answer ``wanted``, or None."""
        if wanted.until is not None:
            end = self._inbox.find(wanted.until, 0, wanted.count)
            if end >= 0:
                return end + 1
        return wanted.count if len(self._inbox) >= wanted.count else None

    def due(self) -> float | None:
        """Return when `run` has something to do even if nothing arrives, or None."""
        return self._until

    def _advance(self, answer: bytes | None, now: float) -> None:
        """Give the program its answer and go on until it waits for something."""
        program = self._program
        while program is not None and program is self._program:
            try:
                step = next(program) if answer is None else program.send(answer)
            except StopIteration:
                # What a processor without a program does: nothing, until it is reset.
                self._waits, self._until = Read(1 << 62), None
                return
            answer = b""
            if isinstance(step, Write):
                self.on_output(step.data)
            elif isinstance(step, Restart):
                self.start(now)
                return
            elif isinstance(step, Spend):
                self._busy, self._until = True, now + step.seconds
                if step.seconds:
                    # What came in one batch with what was read did so while it is busy.
                    self.lost += max(0, len(self._inbox) - self._fifo())
                    del self._inbox[self._fifo() :]
                self.busy_steps += 1
                self.stalled = self.on_busy()
                return
            else:
                self._waits = step
                self._until = None if step.timeout is None else now + step.timeout
                return
