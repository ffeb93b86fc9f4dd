"""A TFTP server of our own, for boards that fetch what they are to be flashed with.

tftpy does the protocol, for as many boards at a time as ask; it serves what is offered under a
random name, and nothing else of the file system.

Source: RFC 1350 (port 69), RFC 2347 to 2349 (options).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from labctl.errors import DependencyError, LabctlError

PORT = 69
_POLL_S = 1


class TftpServer:
    """A running server.

    Args:
        address: Address of ours to listen on.
        port: UDP port; 69 is the one that boards ask, and needs privileges.

    Raises:
        DependencyError: tftpy is not installed.
        LabctlError: The port cannot be had.
    """

    def __init__(self, address: str, port: int = PORT) -> None:
        try:
            import tftpy  # noqa: PLC0415 - only where a board has a network
        except ImportError:
            raise DependencyError("tftpy is not installed", thing="TFTP",
                                  action="pip install 'labctl-suite[flash]'") from None  # fmt: skip
        logging.getLogger("tftpy").setLevel(logging.CRITICAL)
        self._root = tempfile.TemporaryDirectory(prefix="labctl-tftp-")
        self._files = Path(self._root.name, "offered")
        # It insists on a folder to serve; that one is empty, so that each file comes from `_serve`,
        # which remembers how far it was read.
        self._served = Path(self._root.name, "served")
        for folder in (self._files, self._served):
            folder.mkdir()
        self._open: dict[str, BinaryIO] = {}
        self._server = tftpy.TftpServer(str(self._served), dyn_file_func=self._serve)
        self._failure: OSError | None = None
        self._thread = threading.Thread(
            target=self._listen, args=(address, port), name="tftp", daemon=True
        )
        self._thread.start()
        while not self._server.is_running.wait(0.05):
            if not self._thread.is_alive():
                self._root.cleanup()
                cause = self._failure.strerror if self._failure else "it ended"
                raise LabctlError(f"port {port} of {address} cannot be had: {cause}",
                                  thing="TFTP", action=_HINT)  # fmt: skip
        self.port: int = self._server.listenport

    @staticmethod
    def why_not() -> str | None:
        """Return why there can be no server on port 69 here, or None."""
        try:
            import tftpy  # noqa: F401, PLC0415 - only whether it is there
        except ImportError:
            return "tftpy is not installed (pip install 'labctl-suite[flash]')"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", PORT))
            except OSError as error:
                return f"UDP port {PORT} cannot be had here ({error.strerror})"
        return None

    @contextlib.contextmanager
    def offer(self, name: str, data: bytes) -> Iterator[None]:
        """Serve ``data`` as ``name`` while the block runs."""
        (self._files / name).write_bytes(data)
        try:
            yield
        finally:
            (self._files / name).unlink()
            self._open.pop(name, None)

    def progress(self, name: str) -> int:
        """Return how many bytes of ``name`` were read by who fetches it."""
        stream = self._open.get(name)
        return stream.tell() if stream is not None and not stream.closed else 0

    def close(self) -> None:
        """End it; what is being fetched is cut off."""
        self._server.stop(now=True)
        self._thread.join(2.0 * _POLL_S + 1.0)
        self._root.cleanup()

    def _listen(self, address: str, port: int) -> None:
        try:
            self._server.listen(address, port, timeout=_POLL_S)
        except OSError as error:
            self._failure = error

    def _serve(self, name: str, **_: Any) -> BinaryIO | None:  # noqa: ANN401 - tftpy's
        # A plain name that was offered, and no way out of the folder.
        if Path(name).name != name or not (self._files / name).is_file():
            return None
        self._open[name] = (self._files / name).open("rb")
        return self._open[name]


_HINT = "run as root, or give 'tftp_folder' and 'tftp_server' of a server that runs"
