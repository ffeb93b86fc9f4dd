"""Files that are whole or not there: atomic replacement and advisory locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from labctl.errors import BusyError


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data`` so that a reader, or a power cut, sees the old or the new file.

    Args:
        path: File to replace; its folder must exist.
        data: New content; text is written as UTF-8.
        mode: Permission bits of the new file.

    Raises:
        OSError: The file system refused; ``path`` is then as it was and no remains lie about.
    """
    import tempfile  # noqa: PLC0415 - slow to import, and most commands write nothing

    raw = data.encode() if isinstance(data, str) else data
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


@contextlib.contextmanager
def locked(path: Path, *, what: str, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive ``flock`` on ``path`` (created if need be) while the block runs.

    The kernel frees the lock when the holder dies, so it cannot go stale.

    Args:
        path: Lock file.
        what: What is locked, for the message.
        wait: Wait for the holder; otherwise fail at once.

    Raises:
        BusyError: ``wait`` is false and another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BusyError(
                "another labctl is working on it", thing=what, action="wait for it, or end it"
            ) from None
        yield
    finally:
        os.close(descriptor)
