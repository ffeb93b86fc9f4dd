"""A TCP proxy that makes a near machine far: every byte takes half a round trip longer each way.

It runs on a thread of the benchmark and needs no root. Opening a connection takes one round trip,
as the handshake of TCP does. It also counts the *turns* of a connection: how often the client said
something after it had heard something. That is the number of round trips that the protocols cost,
whatever the program thinks it made.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_CHUNK = 65536


@dataclass
class DelayProxy:
    """A running proxy.

    Attributes:
        address: Where to connect to instead.
        port: Its TCP port, once it runs.
        round_trip_s: Seconds that a byte there and a byte back take longer.
        turns: Turns of each connection so far, in the order of their beginning.
    """

    target: tuple[str, int]
    round_trip_s: float
    address: str = "127.0.0.1"
    port: int = 0
    turns: list[int] = field(default_factory=list)

    async def serve(self, started: threading.Event, stopped: asyncio.Future[None]) -> None:
        """Listen until ``stopped`` is done; connections that are open then are cut."""
        server = await asyncio.start_server(self._connected, self.address, 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        try:
            await stopped
        finally:
            server.close()

    async def _connected(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        number = len(self.turns)
        self.turns.append(0)
        await asyncio.sleep(self.round_trip_s)  # the delay itself, not a wait for something
        heard = [True]

        def said() -> None:
            self.turns[number] += heard[0]
            heard[0] = False

        def answered() -> None:
            heard[0] = True

        ends = [client_out]
        try:
            server_in, server_out = await asyncio.open_connection(*self.target)
            ends.append(server_out)
            await asyncio.gather(
                self._forward(client_in, server_out, said),
                self._forward(server_in, client_out, answered),
            )
        except (OSError, asyncio.CancelledError):
            pass  # an end went away, or the proxy stops: the other end is told by the close
        finally:
            for end in ends:
                end.close()

    async def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passed: Callable[[], None]
    ) -> None:
        """Pass bytes on, each half a round trip after it came; the end of the stream too."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        clock = asyncio.get_running_loop().time

        async def deliver() -> None:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(0.0, due - clock()))
                if not data:
                    break
                sink.write(data)
                await sink.drain()
            with contextlib.suppress(OSError):
                sink.write_eof()

        delivery = asyncio.create_task(deliver())
        try:
            while data := await source.read(_CHUNK):
                passed()
                line.put_nowait((clock() + self.round_trip_s / 2, data))
        finally:
            line.put_nowait((clock() + self.round_trip_s / 2, b""))
            await delivery


@contextlib.contextmanager
def delayed(target: tuple[str, int], round_trip_s: float) -> Iterator[DelayProxy]:
    """Run a proxy to ``target`` while the block runs.

    Args:
        target: Address and port to forward to.
        round_trip_s: Seconds to add to each round trip.
    """
    proxy = DelayProxy(target, round_trip_s)
    started = threading.Event()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        stopped: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=runner.run, args=(proxy.serve(started, stopped),))
        thread.start()
        try:
            if not started.wait(10):
                raise RuntimeError("the delay proxy did not start")
            yield proxy
        finally:
            loop.call_soon_threadsafe(stopped.set_result, None)
            thread.join(10)
