"""Over the network: the board fetches pieces from labctl by HTTP, and writes them with dd."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labctl.boards.flash.linux import scripts
from labctl.boards.flash.linux.piece_server import PieceServer
from labctl.boards.flash.linux.ways import Job, Reached, Way, patience
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.source import Piece
from labctl.errors import LabctlError

# How QEMU's user network calls the machine that it runs on, and where that machine must listen
# (QEMU's manual, -netdev user: host=).
_VIRTUAL = ("127.0.0.1", "10.0.2.2")
_INET = re.compile(r"\binet (?:addr:)?(\d+\.\d+\.\d+\.\d+)")
_PROBE_S = 20.0
_TRIES = 3
_WATCH_S = 0.2


class NetworkWay(Way):
    """See the module.

    Args:
        job: What is to be written.
        config: ``server``, our address as the board sees it, where that cannot be found out.
    """

    name = "network"

    def __init__(self, job: Job, config: Mapping[str, Any]) -> None:
        super().__init__(job)
        self._address = config.get("server")
        self._tool = next((one for one in ("curl", "wget") if one in job.tools), "")
        self._server: PieceServer | None = None
        self._url = ""

    def why_not(self) -> str | None:
        """Return why it cannot be used, or None: the board fetches a word to prove it."""
        if self._server is not None:
            return None
        if not self._tool:
            return "it has neither curl nor wget"
        tried = []
        for bind, seen in self._candidates():
            try:
                server = PieceServer(bind)
            except OSError:
                continue
            url = f"http://{seen}:{server.port}{server.path}"
            if self._reaches(server, url):
                self._server, self._url = server, url
                return None
            server.close()
            tried.append(seen)
        if tried:
            return f"it does not reach us at {' or '.join(tried)} (a firewall?)"
        return "it has no network that leads here"

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """Yield where to listen, and how the board calls that."""
        if self._address:
            yield "", str(self._address)
            return
        if self.job.bench.board.folder:
            yield _VIRTUAL
            return
        said = self.job.control.run(scripts.addresses(), timeout=_PROBE_S, again=True)
        found = []
        for board in _INET.findall(said):
            ours = _our_address(board)
            if ours is not None and ours not in found:
                found.append(ours)
                yield ours, ours

    def _reaches(self, server: PieceServer, url: str) -> bool:
        word = secrets.token_hex(8)
        script = scripts.fetch(f"{url}/word", tool=self._tool)
        with server.offer("word", len(word), word.encode), contextlib.suppress(LabctlError):
            return word in self.job.control.run(script, timeout=_PROBE_S, again=True)
        return False

    def describe(self) -> str:
        """Return it for people."""
        return f"HTTP over its network, told over its {self.job.control.what}"

    def send(self, runs: Sequence[Sequence[Piece]], reached: Reached) -> None:
        """Write ``runs``; see `Way.send`."""
        assert self._server is not None
        server, job = self._server, self.job
        items = [(job.place(run), f"{number}") for number, run in enumerate(runs)]
        size = sum(place.size for place, _ in items)
        script = scripts.fetches(job.device, self._url, items, tool=self._tool, fsync=job.fsync)
        with contextlib.ExitStack() as stack:
            for run, (place, name) in zip(runs, items, strict=True):
                get = functools.partial(job.data, run)
                stack.enter_context(server.offer(name, place.size, get))
            for left in reversed(range(_TRIES)):
                server.sent, server.failed = 0, None
                try:
                    with _watched(server, size, reached):
                        job.control.run(script, timeout=patience(size), again=True)
                    break
                except FlashError:
                    if server.failed is not None:
                        raise server.failed from None
                    if not left:
                        raise

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()
            self._server = None


def _our_address(board: str) -> str | None:
    """Return our address on the way to ``board``, or None."""
    if ipaddress.ip_address(board).is_loopback:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((board, 9))  # sends nothing; it asks the routing table
            return str(probe.getsockname()[0])
        except OSError:
            return None


@contextlib.contextmanager
def _watched(server: PieceServer, size: int, reached: Reached) -> Iterator[None]:
    """Tell how far it has come while the block runs."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_WATCH_S):
            reached(min(server.sent, size))

    thread = threading.Thread(target=watch, name="pieces progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
