"""One script that only looks, on many machines at once: none waits for another, none forever.

A machine that is dead, slow or hangs in mid answer costs its own line and nothing else: its thread
is left behind when its time is up. What came before the answer broke off is kept.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from labctl.errors import LabctlError, UnreachableError
from labctl.inventory.resolve import ResolvedHost
from labctl.transport.local import LocalSession
from labctl.transport.machines import LOCAL, Machines
from labctl.transport.script import Record, RecordReader, assemble
from labctl.transport.session import ScriptCancelledError, Session
from labctl.transport.ssh import Access, connect

# The last part of the deadline is counted as all of it: whoever noticed, it is the same fault.
_NEARLY_S = 0.3


@dataclass(frozen=True)
class Answer:
    """What came of one machine.

    Attributes:
        host: Its name.
        records: Whole records that arrived, by name; also those before the answer broke off.
        error: Why there is no answer, or no more of it; None if it is whole.
        seconds: How long it took, from the first packet on.
    """

    host: str
    records: Mapping[str, Record] = field(default_factory=dict)
    error: LabctlError | None = None
    seconds: float = 0.0


@dataclass
class _Work:
    host: str
    target: ResolvedHost | UnreachableError | None
    began: float | None = None
    done: bool = False
    reader: RecordReader | None = None


def ask(
    machines: Machines,
    body: Callable[[str], str],
    *,
    access: Access,
    deadline: float,
    jobs: int = 100,
    on_answer: Callable[[Answer], None] = lambda answer: None,
) -> list[Answer]:
    """Run a script on every machine as the user who logs in, and return the answers in order.

    Args:
        machines: The machines.
        body: Returns the records of the script for the machine of that name (see `script`).
        access: Passwords and host keys.
        deadline: Seconds for one machine in all, from when its turn comes.
        jobs: Machines at once.
        on_answer: Called in the calling thread with each answer as it arrives.
    """
    works = [_Work(host.name, machines.target(host)) for host in machines.hosts]
    works = works or [_Work(LOCAL, None)]
    answers: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
    slots = threading.Semaphore(jobs)

    def work(index: int, one: _Work) -> None:
        with slots:
            one.began = time.monotonic()
            if not one.done:
                answers.put((index, _ask_one(one, body, access, deadline)))

    for index, one in enumerate(works):
        threading.Thread(
            target=work, args=(index, one), name=f"ask {one.host}", daemon=True
        ).start()
    found: dict[int, Answer] = {}
    while len(found) < len(works):
        for index, answer in [*_arrived(answers, wait_s=0.2), *_late(works, found, deadline)]:
            if index not in found:
                found[index] = answer
                on_answer(answer)
    return [found[index] for index in range(len(works))]


def _arrived(
    answers: queue.SimpleQueue[tuple[int, Answer]], *, wait_s: float
) -> list[tuple[int, Answer]]:
    try:
        return [answers.get(timeout=wait_s)]
    except queue.Empty:
        return []


def _late(
    works: Sequence[_Work], found: Mapping[int, Answer], deadline: float
) -> list[tuple[int, Answer]]:
    """Return the answers of machines whose time is up, a little after they should know it."""
    late = []
    for index, one in enumerate(works):
        if index in found or one.began is None or time.monotonic() - one.began < deadline + 1.0:
            continue
        one.done = True
        late.append((index, _answer(one, one.reader, _too_slow(one.host, deadline))))
    return late


def _too_slow(host: str, deadline: float) -> UnreachableError:
    return UnreachableError(
        f"no answer within {deadline:.0f} s", thing=host, action="look at the machine itself"
    )


def _ask_one(one: _Work, body: Callable[[str], str], access: Access, deadline: float) -> Answer:
    assert one.began is not None
    script = assemble(body(one.host))
    reader = one.reader = RecordReader(script.nonce)
    session: Session | None = None
    try:
        session = _open(one, access)
        left = max(deadline - (time.monotonic() - one.began), 0.1)
        # The script's last word ends it: what hangs in a kernel may hold the stream open for ever.
        session.run_script(
            script.text,
            deadline=left,
            on_output=reader.feed,
            cancelled=lambda: reader.finished,
        )
    except ScriptCancelledError:
        pass  # it said its last word
    except LabctlError as error:
        late = time.monotonic() - one.began >= deadline - _NEARLY_S
        return _answer(one, reader, _too_slow(one.host, deadline) if late else error)
    except Exception as error:  # a defect on one machine's way must not take the others' lines
        return _answer(one, reader, UnreachableError(f"{error!r}", thing=one.host))
    finally:
        if session is not None:
            session.close()
    if not reader.finished:
        return _answer(one, reader, UnreachableError("the answer broke off", thing=one.host))
    return _answer(one, reader, None)


def _open(one: _Work, access: Access) -> Session:
    if isinstance(one.target, UnreachableError):
        raise one.target
    if one.target is None:
        return LocalSession(None)
    # Looking needs no root; a script that wants more of it asks `sudo -n` itself.
    return connect(replace(one.target, sudo=False), access)


def _answer(one: _Work, reader: RecordReader | None, error: LabctlError | None) -> Answer:
    records = {record.name: record for record in list(reader.records)} if reader else {}
    seconds = time.monotonic() - one.began if one.began is not None else 0.0
    return Answer(one.host, records, error, seconds)
