import socket
import threading
import time
from collections.abc import Iterator

import pytest
from delay import delayed

ROUND_TRIP_S = 0.06


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, in capitals, and ends when the client does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data.upper())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    assert not thread.is_alive()


def talk(connection: socket.socket, words: list[bytes]) -> float:
    began = time.monotonic()
    for word in words:
        connection.sendall(word)
        heard = b""
        while len(heard) < len(word):
            heard += connection.recv(65536)
        assert heard == word.upper()
    return time.monotonic() - began


def test_each_exchange_takes_a_round_trip_longer(echo: tuple[str, int]) -> None:
    with (
        delayed(echo, ROUND_TRIP_S) as proxy,
        socket.create_connection((proxy.address, proxy.port), timeout=10) as connection,
    ):
        talk(connection, [b"hello"])  # this one also waits for the connection
        took = talk(connection, [b"one", b"two", b"three"])
    assert took >= 3 * ROUND_TRIP_S * 0.99
    assert proxy.turns == [4]


def test_many_pieces_in_one_direction_are_one_turn(echo: tuple[str, int]) -> None:
    size = 1_000_000
    with (
        delayed(echo, ROUND_TRIP_S) as proxy,
        socket.create_connection((proxy.address, proxy.port), timeout=10) as connection,
    ):
        sender = threading.Thread(target=connection.sendall, args=(b"x" * size,))
        sender.start()
        left = size
        while left:
            left -= len(connection.recv(65536))
        sender.join(10)
    # The answer begins before the end is sent, so a few turns more than one may be seen.
    assert 1 <= proxy.turns[0] <= size // 65536 + 2


def test_the_end_of_the_stream_is_passed_on(echo: tuple[str, int]) -> None:
    with (
        delayed(echo, ROUND_TRIP_S) as proxy,
        socket.create_connection((proxy.address, proxy.port), timeout=10) as connection,
    ):
        connection.sendall(b"last")
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while data := connection.recv(65536):
            heard += data
    assert heard == b"LAST"


def test_a_dead_target_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        target = unused.getsockname()
    with (
        delayed(target, 0.0) as proxy,
        socket.create_connection((proxy.address, proxy.port), timeout=10) as connection,
    ):
        assert connection.recv(1) == b""
