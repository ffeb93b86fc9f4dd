"""What every way to flash a board has in common, and what it needs to know.

A method is asked in this order; each step may raise `labctl.errors.LabctlError`:

1. `Method.missing`: can it be used here at all? Nothing is touched.
2. `Method.layout`: what of the image goes where? Nothing is touched; what does not fit is refused.
3. `Method.connect`: bring the board to where it can be written, and let it say who it is.
4. `Method.same`: is it there already? Reads only.
5. `Method.write`, 6. `Method.verify`: by reading back, on the board where it can.
7. `Method.finish`: leave the board as a user expects it, with the new program running.

`Method.abort` may come at any moment after `connect` was begun, on Ctrl-C or a failure: it brings
the board back to where it listens, within `ABORT_S` seconds, and leaves nothing running.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from labctl.boards.flash.image import Image, Segment
from labctl.boards.keys import Key
from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

GROUP = "labctl.flashers"
ABORT_S = 3.0


class FlashError(LabctlError):
    """It could not be written; what was on the board before may be gone."""


class VerifyError(FlashError):
    """What is on the board is not what was written."""


class RefusedError(LabctlError):
    """The image or the board is the wrong one; nothing was changed."""


class OtherBoardError(RefusedError):
    """The board is not the one that has this name."""


@dataclass(frozen=True)
class Target:
    """A place on a board that can be written: one entry below ``flash:`` of its model.

    Attributes:
        name: What people call it: ``--to``.
        method: Name of the method.
        config: That method's keys.
        note: What a person should know.
    """

    name: str
    method: str
    config: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Identity:
    """What a board says of itself.

    Attributes:
        facts: By name, for people and for the comparison with last time: ``chip``, ``board_name``.
        unique: Those of the names whose value no other board has: ``uid``, ``mac``.
        architecture: Processor, named as in `Image.architecture`; None if it did not say.
        chip: Chip or family in small letters, as in `Image.chip`; None if it did not say.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    unique: frozenset[str] = frozenset()
    architecture: str | None = None
    chip: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What is on the board now, against what is wanted.

    Attributes:
        same: It is there already; None where only writing would tell.
        now: Digest of what is there, over the extent that would be written; empty if unknown.
        wanted: Digest of what is wanted.
        algorithm: What kind of digest: ``crc32``, ``md5``, ``sha256``, ``bytes`` (read back).
    """

    same: bool | None
    now: str = ""
    wanted: str = ""
    algorithm: str = ""


@dataclass(frozen=True)
class Route:
    """How the bytes will get there.

    Attributes:
        what: For people: ``YMODEM at 115200 baud``, ``TFTP``.
        payload: Bytes that go over the wire; fewer than the image where it is compressed.
        limit: Bytes per second that the way allows at most, or None where unknown.
        seconds: How long all of it should take, or None where unknown.
        steps: What will be done, a line each, in order: ``erase 4 sectors of 256 KiB``.
    """

    what: str
    payload: int
    limit: float | None = None
    seconds: float | None = None
    steps: Sequence[str] = ()


Show = Callable[[str, int, int], None]


class Progress:
    """Tells how far a flash has come; methods call it, printers subscribe.

    Args:
        show: Gets the phase, what is done and what is to do, in bytes.
    """

    def __init__(self, show: Show = lambda phase, done, total: None) -> None:
        self._show = show
        self.phase = ""
        self.done = 0
        self.total = 0

    def begin(self, phase: str, total: int) -> None:
        """Begin a phase (``erase``, ``send``, ``write``, ``verify``) of ``total`` bytes."""
        self.phase, self.done, self.total = phase, 0, total
        self._show(phase, 0, total)

    def reach(self, done: int) -> None:
        """Say that ``done`` bytes of the phase are done."""
        self.done = done
        self._show(self.phase, done, self.total)


Say = Callable[[str], None]


class Method(ABC):
    """A way to flash a board.

    Args:
        bench: The board; its line is leased before `connect`.
        target: The place that will be written.
        say: Gets a line for each step that takes a while.

    Attributes:
        name: Its name.
        keys: What a model says of it below ``flash:``, besides ``to``, ``method`` and ``note``.
        accepts: Kinds of image that it can carry; empty for any.
        ways: Names of the ways to the board that its key ``via`` takes; empty where it has one.
        streams: It can carry images that are too large for memory (`Image.streamed`).
        uses_line: It talks over the board's line, so that must be leased.
        rewrite: Write also what is there already.
    """

    name: ClassVar[str]
    keys: ClassVar[Mapping[str, Key]] = {}
    accepts: ClassVar[frozenset[str]] = frozenset()
    ways: ClassVar[tuple[str, ...]] = ()
    streams: ClassVar[bool] = False
    uses_line: ClassVar[bool] = True

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        self.bench = bench
        self.target = target
        self.say = say
        self.rewrite = False

    @property
    def config(self) -> Mapping[str, Any]:
        """The keys of this method, for this board."""
        return self.target.config

    def missing(self) -> str | None:
        """Return why it cannot be used here (no such program, no network), or None."""
        return None

    @abstractmethod
    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what of ``image`` goes where.

        Raises:
            RefusedError: It does not fit, or would overwrite what must stay.
        """

    @abstractmethod
    def connect(self) -> Identity:
        """Bring the board to where it can be written; return what it says of itself."""

    @abstractmethod
    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Compare what is on the board with ``segments``; reads only."""

    @abstractmethod
    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how ``segments`` would get there; after `connect`."""

    @abstractmethod
    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Write ``segments``.

        Raises:
            FlashError: It could not.
        """

    @abstractmethod
    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Compare what is on the board now with ``segments``, not trusting what was said before."""

    @abstractmethod
    def finish(self) -> None:
        """Leave the board with the new program running."""

    def leave(self) -> None:
        """Leave the board as it is, when only a plan was asked for."""
        self.finish()

    @abstractmethod
    def abort(self) -> None:
        """Bring the board back to where it listens, within `ABORT_S` seconds; raises nothing."""
