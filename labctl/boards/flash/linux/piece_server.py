"""A small web server for the time of a transfer: a board fetches pieces of an image from it.

Source: RFC 9110 (GET, Content-Length), as `http.server` has it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from labctl.errors import LabctlError

# A board that takes nothing for so long has gone.
_STUCK_S = 30.0
_POLL_S = 0.05
_SEND = 1 << 16


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    offers: dict[str, tuple[int, Callable[[], bytes]]]
    owner: PieceServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a board that went away in the middle is noticed by who waits for it."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _STUCK_S

    def do_GET(self) -> None:
        offer = self.server.offers.get(self.path)
        if offer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        size, get = offer
        try:
            data = get()
        except LabctlError as error:
            self.server.owner.failed = error
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for at in range(0, size, _SEND):
            self.wfile.write(data[at : at + _SEND])
            self.server.owner.sent += min(_SEND, size - at)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class PieceServer:
    """Serves what is offered, and nothing else, under a path that nobody can guess.

    Args:
        address: Of ours, to listen at; empty for all of them.

    Attributes:
        sent: Bytes sent so far; whether they arrived is for others to prove.
        failed: Why an offer could not be read, or None.

    Raises:
        OSError: The address is not ours.
    """

    def __init__(self, address: str) -> None:
        self._server = _Server((address, 0), _Handler)
        self._server.offers = {}
        self._server.owner = self
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.port = int(self._server.server_address[1])
        self.path = f"/{secrets.token_urlsafe(18)}"
        self.sent = 0
        self.failed: LabctlError | None = None
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True,
            name="pieces",
        )  # fmt: skip
        self._thread.start()

    @contextlib.contextmanager
    def offer(self, name: str, size: int, get: Callable[[], bytes]) -> Iterator[None]:
        """Serve ``size`` bytes, which ``get`` returns when they are asked for, as ``name``."""
        path = f"{self.path}/{name}"
        self._server.offers[path] = (size, get)
        try:
            yield
        finally:
            del self._server.offers[path]

    def close(self) -> None:
        """End it; transfers in the middle end with it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
