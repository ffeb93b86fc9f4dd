"""TCP connections that are opened ahead of their use.

A server works for a while before its first word: OpenSSH starts a process for each connection and
gets its keys ready. This process works too, for it imports paramiko. Connected early, they do so
at the same time. What the connection is used for (host key, login) is the same either way.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

from labctl.inventory.resolve import ResolvedHost

# sshd_config(5), LoginGraceTime: two minutes until a server hangs up on who does not log in. A
# connection that has waited for much less than that is still as good as a new one.
FRESH_S = 20.0


@dataclass(frozen=True)
class _Opened:
    sock: socket.socket
    at: float


class EarlyConnections:
    """Connections on their way, by the address and port that they lead to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], list[Future[_Opened]]] = defaultdict(list)

    def open(self, targets: Iterable[ResolvedHost], *, timeout: float) -> None:
        """Begin to connect to ``targets``; those behind jump hosts or a proxy are passed over.

        Args:
            targets: The machines.
            timeout: Seconds for one that says nothing itself.
        """
        for target in targets:
            if target.jumps or target.proxy_command:
                continue
            future: Future[_Opened] = Future()
            address = (target.hostname, target.port)
            with self._lock:
                self._waiting[address].append(future)
            threading.Thread(
                target=_connect,
                args=(address, target.connect_timeout or timeout, future),
                name=f"connect {target.name}",
                daemon=True,
            ).start()

    def take(self, target: ResolvedHost, *, timeout: float) -> socket.socket | None:
        """Return a connection to ``target``, or None where none was begun or it is too old.

        Raises:
            OSError: It could not be made; as from `socket.create_connection`.
            TimeoutError: It was not there within ``timeout`` seconds.
        """
        with self._lock:
            several = self._waiting.get((target.hostname, target.port))
            if not several:
                return None
            future = several.pop()
        try:
            opened = future.result(timeout)
        except FutureTimeoutError:
            future.add_done_callback(_hang_up)
            raise TimeoutError from None
        if time.monotonic() - opened.at > FRESH_S:
            opened.sock.close()
            return None
        return opened.sock

    def close(self) -> None:
        """Close the connections that nobody took."""
        with self._lock:
            left = [future for several in self._waiting.values() for future in several]
            self._waiting.clear()
        for future in left:
            future.add_done_callback(_hang_up)


def _connect(address: tuple[str, int], timeout: float, future: Future[_Opened]) -> None:
    try:
        sock = socket.create_connection(address, timeout)
    except Exception as error:  # whatever it is, it is for the thread that takes the connection
        future.set_exception(error)
    else:
        future.set_result(_Opened(sock, time.monotonic()))


def _hang_up(future: Future[_Opened]) -> None:
    with contextlib.suppress(Exception, CancelledError):
        future.result().sock.close()
