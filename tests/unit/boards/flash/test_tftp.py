"""The TFTP server: several boards at a time, each with its own file, and nothing else."""

from __future__ import annotations

import random
import socket
import struct
import threading

import pytest

from labctl.boards.flash.tftp import TftpServer

RRQ, DATA, ACK, ERROR = 1, 3, 4, 5
_S = 10.0


def fetch(port: int, name: str) -> bytes:
    """Fetch a file as RFC 1350 says, with blocks of 512 bytes."""
    content = bytearray()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(_S)
        request = struct.pack("!H", RRQ) + name.encode() + b"\0octet\0"
        link.sendto(request, ("127.0.0.1", port))
        while True:
            packet, peer = link.recvfrom(1 << 16)
            kind, number = struct.unpack("!HH", packet[:4])
            if kind == ERROR:
                raise FileNotFoundError(packet[4:-1].decode())
            assert kind == DATA
            content += packet[4:]
            link.sendto(struct.pack("!HH", ACK, number), peer)
            if len(packet) < 516:
                return bytes(content)


@pytest.fixture
def server() -> object:
    server = TftpServer("127.0.0.1", 0)
    yield server
    server.close()


def test_several_boards_at_a_time(server: TftpServer) -> None:
    files = {f"b{n}": random.Random(n).randbytes(40_000 + 512 * n) for n in range(6)}
    got: dict[str, bytes] = {}

    def board(name: str) -> None:
        with server.offer(name, files[name]):
            got[name] = fetch(server.port, name)

    boards = [threading.Thread(target=board, args=(name,)) for name in files]
    for one in boards:
        one.start()
    for one in boards:
        one.join(6 * _S)
    assert got == files


@pytest.mark.parametrize("name", ["nothing", "../../etc/passwd", "/etc/passwd"])
def test_what_is_not_offered_is_not_served(server: TftpServer, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        fetch(server.port, name)


def test_what_was_offered_is_gone_afterwards(server: TftpServer) -> None:
    with server.offer("once", b"x"):
        assert fetch(server.port, "once") == b"x"
    with pytest.raises(FileNotFoundError):
        fetch(server.port, "once")
