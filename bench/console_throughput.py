"""Much output: processor time of the reader, and bytes a second through every kind of line.

Output: one command prints 1 MiB on dash, unlimited by a line; 4 MiB show whether it is linear.
Owner: from a pseudo-terminal into the record and four listeners. Network: a board that says 8 MiB
behind Debian's socat (raw TCP) and ser2net (RFC 2217) on 127.0.0.1, into the record and a reader;
every byte is compared.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from console_noise import quiet_shell
from console_peers import CapError, Pexpect, embedded, labgrid
from harness import Aim, Report, Say, argument_parser, run_bench
from ours import owned, port, session

from labctl.boards.client import LineClient
from labctl.errors import DependencyError, LabctlError

MIB = 1 << 20
LISTENERS = 4
AIMS = {
    "ours": Aim(1.0),
    "CPU for 4 MiB / for 1 MiB": Aim(5.0),
    "CPU seconds for 1 MiB at 921600": Aim(1.0),
    "MiB/s from a pseudo-terminal to record and listeners": Aim(20.0, at_most=False),
    "MB/s over raw TCP": Aim(1.0, at_most=False),
    "MB/s over RFC 2217": Aim(1.0, at_most=False),
    "bytes lost": Aim(0),
}
# Peers are stopped after so many seconds.
_CAP_S = 120.0
# A line hands bytes over a few at a time, which costs a reader more than a flood does.
_BAUD = 921600
_DRAIN_S = 8.0
_NETWORK_BYTES = 8 * MIB
_START_S = 20.0


def printing(size: int) -> str:
    """Return a command that prints about ``size`` bytes in lines."""
    return f"head -c {size} /dev/zero | tr '\\0' x | fold -w 79"


def output_ours(size: int, baud: int = 0) -> float:
    """Return our processor seconds for ``size`` bytes of output."""
    with quiet_shell(baud) as line, port(line.port) as channel:
        talk = session(channel)
        talk.run("true", timeout=10)
        before = time.process_time()
        result = talk.run(printing(size), timeout=120)
        spent = time.process_time() - before
        if len(result.output) < size or not result.checked:
            raise LabctlError("the output did not arrive whole")
    return spent


def output_pexpect(size: int) -> float:
    """Return pexpect's."""
    with quiet_shell() as line, port(line.port) as channel:
        child = Pexpect(channel, timeout=_CAP_S)
        before = time.process_time()
        if len(child.ask(printing(size))) < size:
            raise LabctlError("the output did not arrive whole", thing="pexpect")
        return time.process_time() - before


def output_labgrid(size: int, baud: int = 0) -> float:
    """Return labgrid's, or infinity where it took more than `_CAP_S`."""
    options = {"cap_s": _CAP_S, "command": printing(size)}
    with quiet_shell(baud) as line, labgrid("output", line.port, **options) as peer:  # type: ignore[arg-type]
        peer.hear()
        peer.go()
        try:
            return float(peer.hear()["cpu"])
        except CapError:
            return float("inf")


def pattern(size: int) -> bytes:
    """Return bytes of which none can be missing, doubled or swapped unseen; all values occur."""
    block = os.urandom(1 << 16)
    return b"".join(
        number.to_bytes(8, "big") + block[8:] for number in range(size // len(block) + 1)
    )[:size]


def feed(descriptor: int, data: bytes) -> threading.Thread:
    """Write ``data`` on a thread."""

    def send() -> None:
        rest = memoryview(data)
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def drained(clients: list[LineClient], size: int, most_s: float = 120.0) -> tuple[float, int]:
    """Read with all ``clients`` until each has ``size`` bytes; return seconds and bytes lost."""
    began = time.monotonic()
    sums = dict.fromkeys(clients, 0)
    counts = dict.fromkeys(clients, 0)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ, client)
        while any(count < size for count in counts.values()):
            ready = selector.select(5.0)
            if not ready or time.monotonic() - began > most_s:
                break
            for key, _ in ready:
                client = key.data
                data = client.read(0)
                counts[client] += len(data)
                sums[client] = zlib.crc32(data, sums[client])
    seconds = time.monotonic() - began
    lost = sum(size - count for count in counts.values())
    if not lost and len(set(sums.values())) != 1:
        raise LabctlError("two listeners did not hear the same")
    return seconds, lost


def compare(client: LineClient, data: bytes) -> int:
    """Return how many bytes the record lacks.

    Raises:
        LabctlError: It has as many, but others.
    """
    record = client.record
    got = record.tail(len(data))
    if len(got) == len(data) and got != data:
        raise LabctlError("the record is not what was sent")
    return len(data) - len(got)


def owner_rate(size: int) -> tuple[float, int]:
    """Return MiB a second from a pseudo-terminal to record and listeners, and bytes lost."""
    master, slave = pty.openpty()
    try:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(owned(os.ttyname(slave), lease=False))
            clients = [first]
            for _ in range(LISTENERS - 1):
                clients.append(stack.enter_context(LineClient(first.place, first.config)))
                clients[-1].follow(0)
            data = pattern(size)
            sender = feed(master, data)
            seconds, lost = drained(clients, size)
            sender.join(10)
            lost += compare(first, data)
    finally:
        os.close(master)
        os.close(slave)
    return size / MIB / seconds, lost


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(kind: str, device: str) -> Iterator[int]:
    """Serve a device on 127.0.0.1, ``raw`` with socat, ``rfc2217`` with ser2net.

    Raises:
        DependencyError: The program is not installed.
    """
    number = free_port()
    program = {"raw": "socat", "rfc2217": "ser2net"}[kind]
    if shutil.which(program) is None:
        raise DependencyError("is not installed", thing=program, action=f"apt install {program}")
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        if kind == "raw":
            command = ["socat", "-b65536", f"{device},raw,echo=0",
                       f"TCP-LISTEN:{number},bind=127.0.0.1,reuseaddr"]  # fmt: skip
        else:
            configuration = Path(folder) / "ser2net.yaml"
            configuration.write_text(
                f"connection: &line\n"
                f"  accepter: telnet(rfc2217),tcp,127.0.0.1,{number}\n"
                f"  connector: serialdev,{device},115200n81,local\n"
            )
            command = ["ser2net", "-n", "-c", str(configuration)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            # State 0A is LISTEN; a connection would be served.
            wanted = f"0100007F:{number:04X} 00000000:0000 0A"
            deadline = time.monotonic() + _START_S
            while wanted not in Path("/proc/net/tcp").read_text():
                if time.monotonic() > deadline:
                    raise LabctlError("does not listen", thing=program)
                time.sleep(0.01)
            yield number
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def behind(kind: str) -> Iterator[tuple[int, int]]:
    """Yield the descriptor of a board and the TCP port that leads to it."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        with served(kind, os.ttyname(slave)) as number:
            yield master, number
    finally:
        os.close(master)
        os.close(slave)


def network_ours(kind: str) -> tuple[float, int]:
    """Return MB a second into the record and a reader, and bytes lost."""
    with behind(kind) as (board, number):
        scheme = "socket" if kind == "raw" else "rfc2217"
        with owned(f"{scheme}://127.0.0.1:{number}", lease=False) as client:
            data = pattern(_NETWORK_BYTES)
            sender = feed(board, data)
            seconds, lost = drained([client], len(data))
            lost += compare(client, data)
            if not lost:
                sender.join(10)
    return _NETWORK_BYTES / 1e6 / seconds, lost


def network_labgrid(kind: str) -> float:
    """Return what labgrid's console reads in some seconds, MB a second."""
    with behind(kind) as (board, number):
        options = {"count": _NETWORK_BYTES, "seconds": _DRAIN_S}
        with labgrid("drain", f"{kind}://127.0.0.1:{number}", **options) as peer:
            peer.hear()
            feed(board, pattern(_NETWORK_BYTES))
            peer.go()
            numbers = peer.hear()
    return float(numbers["bytes"] / 1e6 / numbers["seconds"])


def network_embedded() -> float:
    """Return what pytest-embedded reads over raw TCP in some seconds, MB a second."""
    with behind("raw") as (board, number):
        feed(board, pattern(_NETWORK_BYTES))
        numbers = embedded(f"socket://127.0.0.1:{number}", kind="drain",
                           count=_NETWORK_BYTES, seconds=_DRAIN_S)  # fmt: skip
    return float(numbers["bytes"] / 1e6 / numbers["seconds"])


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run everything; the best of several rounds counts, since the machine is shared."""
    runs = range(options.runs)
    small = min(output_ours(MIB) for _ in runs)
    large = min(output_ours(4 * MIB) for _ in runs)
    say(f"  1 MiB of output, ours: {small:.2f} s of CPU")
    quarter, whole = output_labgrid(MIB // 4), output_labgrid(MIB)
    say(f"  1 MiB of output, labgrid: {whole:.1f} s of CPU")
    plain = output_pexpect(MIB)
    paced, paced_labgrid = output_ours(MIB, _BAUD), output_labgrid(MIB, _BAUD)
    say(f"  the same at {_BAUD}: ours {paced:.2f}, labgrid {paced_labgrid:.1f}")
    rates, losses = zip(*(owner_rate(64 * MIB) for _ in runs), strict=True)
    say(f"  pseudo-terminal to record and {LISTENERS} listeners: {max(rates):.0f} MiB/s")
    raw = [network_ours("raw") for _ in runs]
    rfc2217 = [network_ours("rfc2217") for _ in runs]
    say(f"  raw TCP {max(raw)[0]:.1f} MB/s, RFC 2217 {max(rfc2217)[0]:.1f} MB/s")
    peers = {kind: network_labgrid(kind) for kind in ("raw", "rfc2217")}
    return Report(
        bench="console_throughput",
        unit="CPU seconds for 1 MiB of output",
        ours=small,
        peers={"labgrid": whole, "pexpect": plain},
        ratios={
            "CPU for 4 MiB / for 1 MiB": large / small,
            "CPU for 1 MiB / for 1/4 MiB, labgrid": whole / quarter,
            f"CPU seconds for 1 MiB at {_BAUD}": paced,
            f"CPU seconds for 1 MiB at {_BAUD}, labgrid": paced_labgrid,
            "MiB/s from a pseudo-terminal to record and listeners": max(rates),
            "MB/s over raw TCP": max(raw)[0],
            "MB/s over raw TCP, labgrid": peers["raw"],
            "MB/s over raw TCP, pytest-embedded": network_embedded(),
            "MB/s over RFC 2217": max(rfc2217)[0],
            "MB/s over RFC 2217, labgrid": peers["rfc2217"],
            "bytes lost": float(sum(losses) + sum(one[1] for one in (*raw, *rfc2217))),
        },
        aims=AIMS,
        details={
            "peers are stopped after, s": _CAP_S,
            "peers read from the network for, s": _DRAIN_S,
        },
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser((__doc__ or "").partition("\n")[0], runs=3).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
