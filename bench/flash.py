"""Flashing over a serial line, beside lrzsz's ``sb`` and what YMODEM-1K's framing allows.

The receivers are others' work: lrzsz's ``rb`` behind a line on which each byte takes its time
(``wire.py``), and U-Boot in QEMU. Ours goes through the owner of the line, as in daily use.

An unchanged board is asked for its digest; a kernel goes compressed, and U-Boot unpacks it. That is
measured with all of labctl's steps, on a line of 115200 baud with U-Boot behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from console_noise import uboot
from harness import Aim, Report, Say, argument_parser, run_bench
from ours import owned, port
from priority import go_first
from wire import Wire, wire

from labctl.boards.bench import Bench
from labctl.boards.flash import ymodem
from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.job import FlashJob
from labctl.boards.flash.method import Progress
from labctl.boards.owner import start
from labctl.boards.sender import SenderProfile, send_line
from labctl.boards.state import State
from labctl.errors import DependencyError, ExitCode, LabctlError
from labctl.inventory.model import Board

RATES = {115200: 64 << 10, 921600: 512 << 10}
_VIRTUAL_BYTES = 128 << 10
_KERNEL_BYTES = 768 << 10
_LOAD = 0x41000000
# So many bytes on the line, and the transfer is in its middle.
_IN_THE_MIDDLE = 20_000
_PEER_S = 300.0
AIMS = {
    "rate / that of sb, virtual board": Aim(1.0, at_most=False),
    **{f"share of what framing allows, {rate} baud": Aim(0.95, at_most=False) for rate in RATES},
    "kernel, compressed / what framing allows": Aim(2.0, at_most=False),
    "seconds to an unchanged board": Aim(2.0),
    "seconds from Ctrl-C to the prompt": Aim(3.0),
}


# -- a paced line with rb behind it ---------------------------------------------------------------


@contextlib.contextmanager
def receiver(baud: int) -> Iterator[tuple[Wire, Path]]:
    """Run ``rb`` behind a line; yields the line and the folder that it writes into."""
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        command = f"cd {folder} && stty raw -echo && rb --binary --quiet; exec cat >/dev/null"
        with wire(["sh", "-c", command], baud=baud) as line:
            yield line, Path(folder)


def ours_paced(baud: int, data: bytes) -> float:
    """Return the seconds of a transfer by our sender."""
    with receiver(baud) as (line, folder), owned(line.port) as client:
        client.set_baud(baud)
        report = ymodem.Sender(client, "bench", baud=baud).send(data, "image")
        if (folder / "image").read_bytes() != data:
            raise LabctlError("what arrived is not what was sent")
        return report.seconds


def sb_paced(baud: int, data: bytes) -> float:
    """Return the seconds of the same transfer by sb."""
    with receiver(baud) as (line, folder), port(line.port) as channel:
        seconds = _sb(channel.fileno(), data)
        if (folder / "image").read_bytes() != data:
            raise LabctlError("what arrived is not what was sent")
        return seconds


def _sb(descriptor: int, data: bytes) -> float:
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        path = Path(folder) / "image"
        path.write_bytes(data)
        started = time.monotonic()
        done = subprocess.run(
            ["sb", "--ymodem", "--1k", "--binary", "--quiet", str(path)],
            stdin=descriptor, stdout=descriptor, stderr=subprocess.PIPE, check=False,
            timeout=_PEER_S,
        )  # fmt: skip
        seconds = time.monotonic() - started
        if done.returncode:
            raise LabctlError(f"sb ended with {done.returncode}: {done.stderr[-200:]!r}")
        return seconds


# -- U-Boot ----------------------------------------------------------------------------------------


def ours_uboot(line: Wire, data: bytes) -> float:
    """Return the seconds of a transfer to U-Boot by our sender."""
    with owned(line.port) as client:
        send_line(client, f"loady {_LOAD:#x}".encode(), SenderProfile(window=64), name="bench")
        report = ymodem.Sender(client, "bench").send(data, "image")
        _back_at_prompt(client)
        return report.seconds


def sb_uboot(line: Wire, data: bytes) -> float:
    """Return the seconds of the same transfer by sb."""
    with port(line.port) as channel:
        send_line(channel, f"loady {_LOAD:#x}".encode(), SenderProfile(window=64), name="bench")
        seconds = _sb(channel.fileno(), data)
        _back_at_prompt(channel)
        return seconds


def _back_at_prompt(channel) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    said = b""
    deadline = time.monotonic() + 30
    while b"=> " not in said.rpartition(b"Total Size")[2]:
        if time.monotonic() > deadline:
            raise LabctlError(f"U-Boot did not come back: {said[-80:]!r}")
        said += channel.read(1.0)


@contextlib.contextmanager
def bench_on(line: Wire) -> Iterator[Bench]:
    """Attach to U-Boot behind ``line`` as a board of an inventory."""
    flash = [{"to": "ram", "method": "uboot-ram", "region": "ram", "address": _LOAD, "load": _LOAD}]
    board = Board("bench", "qemu-arm64", line=line.port, settings={"flash": flash})
    with Bench(board, None) as bench:
        try:
            yield bench
        finally:
            place = bench.line.place
            bench.close()
            start.stop(place)


def flash_once(bench: Bench, image: Image, *, force: bool = False) -> tuple[bool, float]:
    """Flash ``image``; return whether it was written, and the seconds of all of it."""
    started = time.monotonic()
    job = FlashJob(bench, None, image, via="ymodem")
    result = job.run(job.plan(force=force), Progress())
    bench.line.release()
    return result.written, time.monotonic() - started


def ctrl_c(line: Wire, bench: Bench, image: Image) -> float:
    """Return the seconds from a Ctrl-C in the middle of a transfer to the end of the command."""
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        settings = json.dumps(dict(bench.board.settings))
        inventory = Path(folder) / "inventory.yaml"
        entry = f"{{model: qemu-arm64, line: {line.port}, settings: {settings}}}"
        inventory.write_text(f"version: 1\nboards:\n  bench: {entry}\n")
        path = Path(folder) / "image"
        path.write_bytes(image.segments[0].data)
        command = [
            sys.executable,
            "-m",
            "labctl",
            "-i",
            str(inventory),
            "flash",
            "bench",
            str(path),
        ]
        before = line.count().to_board
        job = subprocess.Popen([*command, "--via", "ymodem", "--force"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
        while line.count().to_board - before < _IN_THE_MIDDLE and job.poll() is None:
            time.sleep(0.05)
        started = time.monotonic()
        job.send_signal(signal.SIGINT)
        code = job.wait(_PEER_S)
        seconds = time.monotonic() - started
    if code != ExitCode.INTERRUPTED or bench.uboot is None or not _at_prompt(bench):
        raise LabctlError(f"it ended with {code}, or U-Boot is not at its prompt")
    return seconds


def _at_prompt(bench: Bench) -> bool:
    bench.acquire("bench")
    try:
        return bench.state().state is State.UBOOT
    finally:
        bench.line.release()


def kernel_part(path: Path | None) -> Image:
    """Return a part of a kernel: from its middle, where code is."""
    if path is None:
        found = sorted(Path("~/.cache/labctl/images").expanduser().glob("*/boot/vmlinuz"))
        if not found:
            raise DependencyError("no kernel here", thing="bench",
                                  action="labctl lab up arm64, or --kernel FILE")  # fmt: skip
        path = found[0]
    whole = path.read_bytes()
    middle = len(whole) // 2
    return Image(path, "raw", (Segment(0, whole[middle : middle + _KERNEL_BYTES]),))


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Measure."""
    for program, package in (("sb", "lrzsz"), ("rb", "lrzsz")):
        if shutil.which(program) is None:
            raise DependencyError("is not installed", thing=program,
                                  action=f"apt install {package}")  # fmt: skip
    ratios: dict[str, float] = {}
    details: dict[str, object] = {}
    peers: dict[str, float] = {}
    rate_here = 0.0
    for baud, size in RATES.items():
        data = os.urandom(size)
        least = ymodem.line_bytes(size) * ymodem.BITS_PER_BYTE / baud
        ours = min(ours_paced(baud, data) for _ in range(options.runs))
        theirs = min(sb_paced(baud, data) for _ in range(options.runs))
        say(f"  {baud} baud, {size} bytes: least {least:.2f} s, ours {ours:.2f}, sb {theirs:.2f}")
        ratios[f"share of what framing allows, {baud} baud"] = least / ours
        details[f"sb's share, {baud} baud"] = round(least / theirs, 3)
    with uboot() as line:
        data = os.urandom(_VIRTUAL_BYTES)
        pairs = [(ours_uboot(line, data), sb_uboot(line, data)) for _ in range(options.runs)]
        ours, theirs = min(one for one, _ in pairs), min(two for _, two in pairs)
        say(f"  virtual board, {len(data)} bytes: ours {ours:.2f} s, sb {theirs:.2f} s")
        ratios["rate / that of sb, virtual board"] = theirs / ours
        rate_here = len(data) / ours / 1024
        peers["sb"] = len(data) / theirs / 1024
    image = kernel_part(options.kernel)
    with uboot(baud=115200) as line, bench_on(line) as bench:
        _, seconds = flash_once(bench, image)
        least = ymodem.line_bytes(image.size) * ymodem.BITS_PER_BYTE / 115200
        say(f"  kernel, {image.size} bytes: {seconds:.1f} s; uncompressed at best {least:.1f} s")
        ratios["kernel, compressed / what framing allows"] = least / seconds
        written, again = flash_once(bench, image)
        if written:
            raise LabctlError("the unchanged board was written again")
        ratios["seconds to an unchanged board"] = again
        ratios["seconds from Ctrl-C to the prompt"] = ctrl_c(line, bench, image)
        details["seconds to write it"] = round(seconds, 1)
    return Report("YMODEM to U-Boot in QEMU", "KiB/s", ours=rate_here, peers=peers, ratios=ratios,
                  aims=AIMS, details=details)  # fmt: skip


def main() -> int:
    """Run the benchmark."""
    parser = argument_parser((__doc__ or "").partition("\n")[0], runs=3)
    parser.add_argument("--kernel", type=Path, help="kernel to flash a part of")
    options = parser.parse_args()
    go_first()
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as state:
        os.environ["XDG_STATE_HOME"] = state
        return run_bench(options, lambda say: measure(options, say))


if __name__ == "__main__":
    sys.exit(main())
