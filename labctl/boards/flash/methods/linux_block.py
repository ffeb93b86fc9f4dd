"""A block device of a board (card, eMMC, disk) through its own Linux, on the console or over SSH.

The device is compared piece by piece by digests that the board computes; only pieces that differ
are sent, and zeros are made there. What a block map leaves out, or is in the file already, costs
nothing. The running system must not be on the device; who uses it is asked of its kernel.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from labctl.boards.flash.image import Image, Segment, StreamedSegment
from labctl.boards.flash.linux import scripts
from labctl.boards.flash.linux.by_console import ConsoleWay
from labctl.boards.flash.linux.by_ssh import SshWay
from labctl.boards.flash.linux.control import ConsoleControl, Control, SshControl
from labctl.boards.flash.linux.device import Device, check_device, parse_device, parse_identity
from labctl.boards.flash.linux.network import NetworkWay
from labctl.boards.flash.linux.scripts import Place
from labctl.boards.flash.linux.ways import RUN_BYTES, Job, Way, patience
from labctl.boards.flash.method import (
    Comparison,
    FlashError,
    Identity,
    Method,
    Progress,
    RefusedError,
    Route,
    Say,
    Target,
    VerifyError,
)
from labctl.boards.flash.source import DIGITS, PIECE, Piece, Source, memory_source
from labctl.boards.keys import Key
from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

_SECTOR = 512
_ASK_S = 60.0
# So many bytes are compared by one command.
_DIGEST_BYTES = 64 * PIECE
_ALGORITHMS = ("sha256", "md5", "cksum")


class LinuxBlock(Method):
    """See the module."""

    name = "linux-block"
    # The first that works is taken, so the quickest is first.
    ways = ("network", "ssh", "console")
    streams = True
    # What says for which place it is, or is compressed and no disk, is no disk.
    accepts = frozenset({"raw", "disk"})
    keys: ClassVar[Mapping[str, Key]] = {
        "device": Key(str, "The device, such as /dev/mmcblk0 or a name below /dev/disk/by-path.",
                      needed=True, pattern=r"/dev/[A-Za-z0-9._:@+/-]+"),
        "via": Key(list, "Ways to get bytes there, the first that works: network, ssh, console."),
        "ssh": Key(str, "Host of the inventory that is this board, for commands and bytes."),
        "server": Key(str, "Our address as the board sees it, where that cannot be found out.",
                      pattern=r"[0-9A-Za-z.-]+"),
        "unmount": Key(list, "Mount points on the device that may be unmounted first."),
        "offset": Key(int, "Byte on it where the image begins; a multiple of 512."),
        "digest": Key(str, "What the board compares by, if not the first that it has.",
                      choices=_ALGORITHMS),
    }  # fmt: skip

    def __init__(self, bench: Bench, target: Target, say: Say) -> None:
        super().__init__(bench, target, say)
        self._device = str(self.config["device"])
        self._offset = int(self.config.get("offset", 0))
        self._control: Control | None = None
        self._way: Way | None = None
        self._job: Job | None = None
        self._tools: frozenset[str] = frozenset()
        self._scratch = ""
        self._facts: Device | None = None
        self._seen: dict[Piece, str] | None = None
        self._written = False

    def missing(self) -> str | None:
        """Return why it cannot be used here, or None."""
        return None if self.bench.linux is not None else "its model describes no Linux"

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what goes where; see `Method.layout`."""
        if self._offset % _SECTOR:
            raise RefusedError(f"'offset' {self._offset} is no multiple of {_SECTOR}",
                               thing=self.bench.name, action="correct its model")  # fmt: skip
        source = image.source
        if source is None:
            source = memory_source(image.path, b"".join(one.data for one in image.segments))
        return (StreamedSegment(self._offset, b"", source),)

    # -- getting there -------------------------------------------------------------------------

    @property
    def control(self) -> Control:
        """The board's shell; after `connect`."""
        assert self._control is not None
        return self._control

    def connect(self) -> Identity:
        """Bring the board to a shell, ask who it is, and what is on the device."""
        self._control = self._reach()
        # All at once: each question over a console costs more than its answer.
        questions = (scripts.tools(), scripts.identify(), scripts.look(self._device))
        said = self._ask("\n".join(questions))
        lines = said.split("\n")
        self._tools = frozenset(one[5:] for one in lines if one.startswith("tool "))
        self._scratch = next((one[8:] for one in lines if one.startswith("scratch ")), "")
        self._facts = parse_device(self._device, said)
        return parse_identity(said)

    def _reach(self) -> Control:
        host, via = self.config.get("ssh"), self.config.get("via", self.ways)
        if host and set(via) & {"network", "ssh"}:
            try:
                return SshControl.of(self.bench, str(host))
            except LabctlError as error:
                if list(via) == ["ssh"]:
                    raise
                self.say(f"not over SSH: {error.cause}")
        console = ConsoleControl(self.bench)
        self._control = console  # an abort may come while it boots
        console.connect()
        return console

    def _ask(self, script: str, timeout: float = _ASK_S) -> str:
        return self.control.run(script, timeout=timeout, again=True)

    def _look(self) -> Device:
        self._facts = parse_device(self._device, self._ask(scripts.look(self._device)))
        return self._facts

    def _check(self, source: Source) -> list[str]:
        """Refuse a device that must not be written; return what is to be unmounted."""
        assert self._facts is not None
        return check_device(self._facts, end=self._offset + source.size,
                            may_unmount=self.config.get("unmount", ()))  # fmt: skip

    def _algorithm(self) -> str:
        wanted = self.config.get("digest")
        for one in [str(wanted)] if wanted else _ALGORITHMS:
            if (one if one == "cksum" else f"{one}sum") in self._tools:
                return one
        raise FlashError(
            "it has no program that computes digests" if wanted is None else f"it has no {wanted}",
            thing=self.bench.name, action="install coreutils or busybox there",
        )  # fmt: skip

    def _work(self, segments: Sequence[Segment]) -> Job:
        """Return what is to be done, as ways need it."""
        (segment,) = segments
        assert isinstance(segment, StreamedSegment)
        if self._job is None or self._job.source is not segment.source:
            self._job = Job(
                self.bench, self.control, self._device, segment.source, self._algorithm(),
                self._offset, self._tools, self._scratch,
            )  # fmt: skip
        return self._job

    def _choose(self, job: Job) -> Way:
        if self._way is not None:
            return self._way
        known: dict[str, Callable[[], Way]] = {
            "network": lambda: NetworkWay(job, self.config),
            "ssh": lambda: SshWay(job),
            "console": lambda: ConsoleWay(job),
        }
        reasons = []
        for name in self.config.get("via", self.ways):
            if name not in known:
                reasons.append(f"{name}: there is no such way")
                continue
            self._way = known[name]()
            why = self._way.why_not()
            if why is None:
                return self._way
            reasons.append(f"{name}: {why}")
            self._way = None
        raise FlashError("no way to get the image there", thing=self.bench.name,
                         action="; ".join(reasons))  # fmt: skip

    # -- comparing -----------------------------------------------------------------------------

    def same(self, segments: Sequence[Segment]) -> Comparison:
        """Compare digests computed on the board."""
        job = self._work(segments)
        self._check(job.source)
        return self._compare(job)

    def _compare(self, job: Job, reached: Callable[[int], None] = lambda done: None) -> Comparison:
        pieces = job.source.survey(job.algorithm)
        seen = dict(zip(pieces, self._digests(job, pieces, reached), strict=True))
        self._seen = seen
        now, wanted = list(seen.values()), [one.digest for one in pieces]
        return Comparison(now == wanted, _one(now), _one(wanted), job.algorithm)

    def _digests(
        self, job: Job, pieces: Sequence[Piece], reached: Callable[[int], None]
    ) -> Iterator[str]:
        """Yield what the device has where ``pieces`` belong."""
        done = 0
        for batch in _batches([[one] for one in pieces], _DIGEST_BYTES):
            places = [Place(job.offset + one.begin, one.size) for (one,) in batch]
            size = sum(one.size for one in places)
            script = scripts.digests(job.device, job.algorithm, places, DIGITS)
            said = self._ask(script, patience(size)).split()
            if len(said) != len(places):
                raise FlashError(f"it said {len(said)} digests for {len(places)} pieces",
                                 thing=self.bench.name, action="run it again")  # fmt: skip
            yield from said
            done += size
            reached(done)

    def _changed(self, job: Job) -> list[Piece]:
        """Return the pieces that are to be written, no larger than the way likes them."""
        if self._seen is None:
            self._compare(job)
        assert self._seen is not None
        changed = [
            one for one, digest in self._seen.items() if self.rewrite or digest != one.digest
        ]
        size = self._choose(job).piece
        if size >= PIECE:
            return changed
        fine = [
            part
            for one in changed
            for part in ([one] if one.zero else job.source.narrow(one, size, job.algorithm))
        ]
        if self.rewrite:
            return fine
        now = self._digests(job, fine, lambda done: None)
        return [one for one, digest in zip(fine, now, strict=True) if digest != one.digest]

    def route(self, segments: Sequence[Segment]) -> Route:
        """Return how the changed pieces would get there."""
        job = self._work(segments)
        way = self._choose(job)
        changed = self._changed(job)
        sent = sum(one.size for one in changed if not _is_made_there(one))
        made = sum(one.size for one in changed) - sent
        steps = [f"unmount {point}" for point in self._check(job.source)]
        if sent:
            steps.append(f"write {sent:,} bytes to {job.device}")
        if made:
            steps.append(f"fill {made:,} bytes of it with zeros, which are made there")
        steps.append(f"read it back and compare the {job.algorithm}, computed on the board")
        limit = way.limit()
        return Route(way.describe(), sent, limit, sent / limit if limit else None, steps)

    # -- writing -------------------------------------------------------------------------------

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Write what the board does not have yet."""
        job = self._work(segments)
        way, changed = self._choose(job), self._changed(job)
        self._claim(job)
        self._seen, self._written = None, True
        progress.begin("write", sum(one.size for one in changed))
        runs = list(_neighbours(changed, min(RUN_BYTES, way.batch)))
        made = [run for run in runs if _is_made_there(run[0])]
        done = 0
        for batch in _batches(made, way.batch):
            places = [job.place(run) for run in batch]
            size = sum(one.size for one in places)
            self._ask(scripts.zeros(job.device, places, fsync=job.fsync), patience(size))
            done += size
            progress.reach(done)
        for batch in _batches([run for run in runs if not _is_made_there(run[0])], way.batch):
            way.send(batch, functools.partial(_advance, progress, done))
            done += sum(one.size for run in batch for one in run)
            progress.reach(done)

    def _claim(self, job: Job) -> None:
        """Make sure that nobody uses the device, at the last moment."""
        self._look()
        points = self._check(job.source)
        said = self._ask(scripts.claim(job.device, points))
        busy = "busy" in said.split() if self._facts is not None and self._facts.whole else False
        if self._look().mounts or busy:
            raise RefusedError(
                "somebody on the board uses it, or a partition of it", thing=job.device,
                action="look with 'lsof' or 'fuser' there",
            )  # fmt: skip
        self._check(job.source)

    def verify(self, segments: Sequence[Segment], progress: Progress) -> Comparison:
        """Compare digests of what the board reads from the medium."""
        job = self._work(segments)
        progress.begin("verify", sum(one.size for one in job.source.survey(job.algorithm)))
        if "warm" in self._ask(scripts.forget_cache(job.device), patience(0) * 4).split():
            self.say("its cache cannot be emptied; what is compared may come from there")
        result = self._compare(job, progress.reach)
        if not result.same:
            assert self._seen is not None
            wrong = next(one for one, digest in self._seen.items() if digest != one.digest)
            raise VerifyError(
                "what it reads back is not what was written, at byte "
                f"{job.offset + wrong.begin:,} first", thing=self.bench.name,
                action="run it again; if it stays, the card is worn out",
            )  # fmt: skip
        return result

    def finish(self) -> None:
        """Let the kernel see the new partitions; its Linux runs on."""
        if self._written and self._facts is not None and self._facts.whole:
            self._ask(scripts.reread(self._device))
        self._close(answers=True)

    def _close(self, *, answers: bool) -> None:
        way, self._way = self._way, None
        if way is not None and (answers or not isinstance(way, ConsoleWay)):
            way.close()
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if self._job is not None:
            self._job.source.close()

    def abort(self) -> None:
        """Stop what runs on the board; raises nothing."""
        answers = self._control.stop() if self._control is not None else False
        with contextlib.suppress(LabctlError):
            self._close(answers=answers)


def _is_made_there(piece: Piece) -> bool:
    return piece.zero and piece.size % _SECTOR == 0


def _advance(progress: Progress, before: int, done: int) -> None:
    progress.reach(before + done)


def _neighbours(pieces: Sequence[Piece], most: int) -> Iterator[list[Piece]]:
    """Yield runs of neighbours of one kind, of at most ``most`` bytes, or one that has more."""
    run: list[Piece] = []
    for one in pieces:
        if run and (
            run[-1].end != one.begin
            or _is_made_there(run[0]) != _is_made_there(one)
            or one.end - run[0].begin > most
        ):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _batches(runs: Sequence[list[Piece]], most: int) -> Iterator[list[list[Piece]]]:
    """Yield ``runs``, so many together that they have at most ``most`` bytes, or one with more."""
    batch: list[list[Piece]] = []
    size = 0
    for run in runs:
        more = run[-1].end - run[0].begin
        if batch and size + more > most:
            yield batch
            batch, size = [], 0
        batch.append(run)
        size += more
    if batch:
        yield batch


def _one(digests: Sequence[str]) -> str:
    """Return one digest for several."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:DIGITS]
