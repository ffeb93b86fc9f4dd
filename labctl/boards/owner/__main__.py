"""``python -m labctl.boards.owner FOLDER READY``: be the owner of the line of that folder.

READY is the number of an open descriptor, on which one line says that the line is open, or why it
could not be opened. Started by `labctl.boards.owner.start`; nobody types this.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
from pathlib import Path

from labctl import procs
from labctl.boards.owner import protocol
from labctl.boards.owner.opener import Opener
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.owner.server import Owner
from labctl.errors import LabctlError
from labctl.transport.lines.base import Line


def main(folder: str, ready: str) -> int:
    """Open the line, say so, serve."""
    place = Place.at(Path(folder))
    report = os.fdopen(int(ready), "w")
    lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, place.file_mode)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report.write(json.dumps({"running": True}) + "\n")
        return 0
    try:
        config = place.read_config()
        opener = Opener(config, open_line)
        line = opener(config.settings)
        listener = _listen(place)
    except LabctlError as error:
        report.write(json.dumps({"error": protocol.error_to_message(error)}) + "\n")
        return 1
    except (OSError, ValueError) as error:
        failed = LabctlError(str(error), thing=place.folder.name)
        report.write(json.dumps({"error": protocol.error_to_message(failed)}) + "\n")
        return 1
    owner = Owner(place, config, lambda: opener(owner.config.settings, same=owner.same), listener)
    owner.adopt(line)
    mine = procs.identify(os.getpid())
    assert mine is not None
    place.write_process(mine)
    report.write(json.dumps({"ready": True}) + "\n")
    report.close()
    # To be told to end is to end as by 'stop': the journal gets its line, the port is closed.
    signal.signal(signal.SIGTERM, lambda number, frame: owner.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        owner.run()
    finally:
        place.socket.unlink(missing_ok=True)
    return 0


def open_line(config: OwnerConfig) -> Line:
    """Open the line of ``config``.

    Raises:
        LabctlError: It cannot be opened; the class and the message say why.
    """
    from labctl.transport.lines.opening import open_line as open_url  # noqa: PLC0415

    def session_for_host(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        from labctl.boards.owner.hosts import connect_host  # noqa: PLC0415

        return connect_host(config, name)

    return open_url(config.url, config.settings, session_for_host=session_for_host)


def _listen(place: Place) -> socket.socket:
    """Return the listening socket, bound under its final name at once, with the right mode."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    place.socket.unlink(missing_ok=True)
    directory = os.open(place.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o777 & ~place.file_mode)
    try:
        # By a short path: the path of a UNIX socket has at most 107 bytes (unix(7)).
        listener.bind(f"/proc/self/fd/{directory}/{place.socket.name}")
    finally:
        os.umask(before)
        os.close(directory)
    listener.listen(128)
    return listener


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
