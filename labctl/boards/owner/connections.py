"""One client's connection at the owner: messages in and out, or, once it follows, bytes out."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from pathlib import Path

from labctl.boards.owner import log, protocol
from labctl.boards.owner.protocol import LineBuffer, Message

# A client that does not read its answers is no reason to hold them all.
_OUTPUT_LIMIT = 4 << 20
_SEND_BYTES = 1 << 20


class Connection:
    """A client.

    Args:
        link: The accepted socket.
        number: Key of this connection.
    """

    def __init__(self, link: socket.socket, number: int) -> None:
        self.link = link
        self.number = number
        self.buffer = LineBuffer()
        self.follower: Follower | None = None
        self.output = b""
        link.setblocking(False)
        # The kernel says who is there: struct ucred of unix(7).
        raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid, uid, _ = struct.unpack("3i", raw)
        try:
            self.user = pwd.getpwuid(uid).pw_name
        except KeyError:
            self.user = str(uid)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self.link.fileno()

    def say(self, message: Message) -> None:
        """Queue a message; call `flush` (the loop does) to send it.

        Raises:
            OSError: The client does not take its messages.
        """
        self.output += protocol.encode(message)
        if len(self.output) > _OUTPUT_LIMIT:
            raise BrokenPipeError("the client does not read")
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now.

        Raises:
            OSError: The client has gone.
        """
        while self.output:
            try:
                count = self.link.send(self.output)
            except BlockingIOError:
                return
            self.output = self.output[count:]

    def pump(self, end: int) -> None:
        """Send the follower what it lacks up to ``end`` of the record, as far as it takes it.

        Raises:
            OSError: The client has gone.
        """
        self.flush()
        if self.follower and not self.output:
            self.follower.pump(self.link, end)

    def wants_to_send(self, end: int) -> bool:
        """Tell whether something waits for the client, given the end of the record."""
        return bool(self.output) or (self.follower is not None and self.follower.offset < end)

    def close(self) -> None:
        """Close it."""
        if self.follower:
            self.follower.close()
        self.link.close()


class Follower:
    """A reader's place in the record. The record is its buffer, so a slow one loses nothing.

    Args:
        folder: Folder of the record.
        offset: Where to begin.
    """

    def __init__(self, folder: Path, offset: int) -> None:
        self._folder = folder
        self._file = -1
        self._start = 0
        self.offset = offset

    def pump(self, link: socket.socket, end: int) -> None:
        """Send from the record until ``end``, which is its end, or until ``link`` takes no more.

        Raises:
            OSError: The other side has gone.
        """
        while self.offset < end:
            if self._file < 0 and not self._open():
                return
            try:
                count = os.sendfile(
                    link.fileno(), self._file, self.offset - self._start, _SEND_BYTES
                )
            except BlockingIOError:
                return
            self.offset += count
            if count == 0 and not self._next():
                return

    def _open(self) -> bool:
        starts = log.segments(self._folder)
        if not starts:
            return False
        self.offset = max(self.offset, starts[0])
        self._start = max(start for start in starts if start <= self.offset)
        try:
            self._file = os.open(
                log.paths(self._folder, self._start)[0], os.O_RDONLY | os.O_CLOEXEC
            )
        except FileNotFoundError:  # dropped this moment; there are newer ones
            return self._open()
        return True

    def _next(self) -> bool:
        """Go on to the segment that begins where this one ends, if there is one."""
        if not log.paths(self._folder, self.offset)[0].exists() or self.offset == self._start:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
