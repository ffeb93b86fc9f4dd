"""Over the network, by TFTP: from labctl's own server, or from a folder that somebody serves.

Source: RFC 1350 (TFTP), RFC 2348 (block size); U-Boot's doc/usage/cmd/tftpboot.rst and dhcp.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labctl.boards.errors import CommandTimeoutError
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.tftp import TftpServer
from labctl.boards.flash.uboot.monitor import Monitor
from labctl.boards.flash.uboot.upload import Reached, Upload
from labctl.errors import LabctlError

_BYTES = re.compile(rb"Bytes transferred = (\d+)")
_DHCP_S = 40.0
# U-Boot gives up a transfer by itself; its own patience is not much longer.
_LEAST_S = 30.0
_SLOWEST = 200_000
# Folder of a virtual board that its emulator serves, and the address that it is served at
# (QEMU's manual, -netdev user: tftp=dir; 10.0.2.2 is the host).
_VIRTUAL = ("tftp", "10.0.2.2")


class NetworkUpload(Upload):
    """See the module.

    Args:
        monitor: The board's U-Boot.
        config: ``tftp_folder`` and ``tftp_server`` where somebody else serves files.
    """

    name = "tftp"
    by_line = False

    def __init__(self, monitor: Monitor, config: Mapping[str, Any]) -> None:
        super().__init__(monitor)
        self._folder, self._server_address = self._served(config)
        self._server: TftpServer | None = None
        self._ready = False

    def _served(self, config: Mapping[str, Any]) -> tuple[Path | None, str | None]:
        home = self.monitor.bench.board.folder
        if config.get("tftp_folder"):
            return Path(str(config["tftp_folder"])).expanduser(), config.get("tftp_server")
        if home and (virtual := Path(home) / _VIRTUAL[0]).is_dir():
            return virtual, _VIRTUAL[1]
        return None, config.get("tftp_server")

    def why_not(self) -> str | None:
        """Return why it cannot be used, or None; brings the board's network up."""
        if self._ready:
            return None
        if not (self.monitor.has("tftpboot") and self.monitor.has("dhcp")):
            return "its U-Boot has no network commands"
        if self._folder is None and (problem := TftpServer.why_not()):
            return problem
        try:
            self.monitor.run("setenv autoload no; dhcp", timeout=_DHCP_S)
        except CommandTimeoutError:
            return "no DHCP server answers it"
        except FlashError as error:
            return f"no network: {error.cause}"
        self._ready = True
        return None

    def limit(self) -> float | None:
        """Return None: it depends on the network."""
        return None

    def describe(self) -> str:
        """Return it for people."""
        return "TFTP over its network"

    def send(self, address: int, data: bytes, reached: Reached) -> None:
        """Put ``data`` at ``address``; see `Upload.send`."""
        with self._offered(data, reached) as (server, name):
            command = f"tftpboot {address:#x} {name}"
            if server:
                command = f"setenv serverip {server}; {command}"
            text = self.monitor.run(command, timeout=_LEAST_S + len(data) / _SLOWEST)
        match = _BYTES.search(text)
        if match is None or int(match[1]) != len(data):
            raise FlashError("its tftpboot brought another size than was offered",
                             thing=self.monitor.name)  # fmt: skip
        reached(len(data))

    @contextlib.contextmanager
    def _offered(self, data: bytes, reached: Reached) -> Iterator[tuple[str | None, str]]:
        name = f"labctl-{secrets.token_hex(8)}"
        if self._folder is not None:
            path = self._folder / name
            path.write_bytes(data)
            path.chmod(0o644)
            try:
                yield self._server_address, name
            finally:
                path.unlink(missing_ok=True)
            return
        address = self._server_address or self._our_address()
        if self._server is None:
            self._server = TftpServer(address)
        with self._server.offer(name, data), _watched(self._server, name, reached):
            yield address, name

    def _our_address(self) -> str:
        """Return the address of ours that the board reaches."""
        board = self.monitor.variables(["ipaddr"]).get("ipaddr", "")
        try:
            ipaddress.ip_address(board)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((board, 9))  # sends nothing; it asks the routing table
                return str(probe.getsockname()[0])
        except (ValueError, OSError):
            raise LabctlError(
                f"no way to its address '{board}' from here", thing=self.monitor.name,
                action="give 'tftp_server' in its model or settings",
            ) from None  # fmt: skip

    def cancel(self) -> None:
        """End a transfer: U-Boot's tftpboot listens to Ctrl-C."""
        with contextlib.suppress(LabctlError):
            self.monitor.bench.line.write(b"\x03")

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()
            self._server = None


@contextlib.contextmanager
def _watched(server: TftpServer, name: str, reached: Reached) -> Iterator[None]:
    """Tell how far the file ``name`` has come while the block runs."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            reached(server.progress(name))

    thread = threading.Thread(target=watch, name="tftp progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(1.0)
