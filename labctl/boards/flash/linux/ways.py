"""Ways to get bytes from here onto a device of a board whose Linux runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from labctl.boards.bench import Bench
from labctl.boards.flash.linux.control import Control
from labctl.boards.flash.linux.scripts import Place
from labctl.boards.flash.source import PIECE, Piece, Source

Reached = Callable[[int], None]
# bytes/s that a slow card, or a slow network, takes at least; deadlines follow from it.
SLOWEST = 200_000
LEAST_S = 30.0
# What one dd writes: a slow card has it within the time that an abort may take.
RUN_BYTES = 2 * PIECE


@dataclass(frozen=True)
class Job:
    """What a way needs to know of the whole.

    Attributes:
        bench: The board.
        control: Its shell.
        device: The device, as it is called there.
        source: The image.
        algorithm: By which its pieces were surveyed.
        offset: Of the image on the device, bytes.
        tools: Programs that the board has; ``fsync`` where dd can wait for the device.
        scratch: A folder on the board for some bytes; empty if there is none.
    """

    bench: Bench
    control: Control
    device: str
    source: Source
    algorithm: str
    offset: int
    tools: frozenset[str]
    scratch: str

    @property
    def fsync(self) -> bool:
        """Whether dd can wait until the device has what it wrote."""
        return "fsync" in self.tools

    def place(self, pieces: Sequence[Piece]) -> Place:
        """Return where neighbours belong."""
        begin = pieces[0].begin
        return Place(self.offset + begin, pieces[-1].end - begin)

    def data(self, pieces: Sequence[Piece]) -> bytes:
        """Return the bytes of neighbours."""
        return b"".join(self.source.read_piece(one, self.algorithm) for one in pieces)


class Way(ABC):
    """One way.

    Attributes:
        name: What a model calls it, in ``via:``.
        piece: What is compared, and sent only if it differs, bytes.
        batch: So many bytes are sent by one call, about.
    """

    name: ClassVar[str]
    piece: ClassVar[int] = PIECE
    batch: ClassVar[int] = 8 * RUN_BYTES

    def __init__(self, job: Job) -> None:
        self.job = job

    @abstractmethod
    def why_not(self) -> str | None:
        """Return why it cannot be used, or None; may ask the board."""

    @abstractmethod
    def describe(self) -> str:
        """Return it for people."""

    def limit(self) -> float | None:
        """Return the bytes per second that it carries at most; None if unknown."""
        return None

    @abstractmethod
    def send(self, runs: Sequence[Sequence[Piece]], reached: Reached) -> None:
        """Write ``runs`` of neighbours; whether they arrived whole is for the caller to prove.

        Args:
            runs: What to write, each at most `RUN_BYTES`.
            reached: Gets the bytes that are there, as it goes.

        Raises:
            LabctlError: It could not.
        """

    def close(self) -> None:  # noqa: B027 - there may be nothing to leave
        """Leave nothing behind."""


def patience(size: int) -> float:
    """Return how long ``size`` bytes may take, seconds."""
    return LEAST_S + size / SLOWEST
