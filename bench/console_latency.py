"""One command over a 115200 line, beside the time that its own bytes take on it.

The line is `wire.py`: each byte takes ten bits' time, never less. Ours runs as in daily use,
through the owner of the line. The line time of a command is that of the bytes that came back
(its echo among them): the sum over both directions would be longer and easier to meet.

The time that the board itself thinks is in the figures. The figure of each is the first decile of
its commands, in the best of some rounds, since the machine is shared; all of a round runs with
real-time priority where that is allowed, the peers too. Also here: attaching to an idle shell, and
importing the engine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from console_noise import uboot
from console_peers import Labgrid, Pexpect, PromptStyle, embedded, labgrid
from harness import Aim, Report, Say, argument_parser, run_bench
from ours import UBOOT_PROMPT, await_prompt, owned, port, session
from priority import go_first
from wire import PROMPT, Count, Wire, line_seconds, wire

from labctl.boards.client import LineClient
from labctl.boards.dialects.base import Dialect
from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.dialects.uboot import UBootShell
from labctl.errors import LabctlError

BAUD = 115200
SHELLS = {
    "dash": ("dash", "-i"),
    "bash": ("bash", "--norc", "-i"),
    "busybox": ("busybox", "sh", "-i"),
}
# So many commands until the safe number of bytes on the way is learned, and the shell knows us.
_WARM_UP = 110
_COMMANDS = 60
_PEER_COMMANDS = 20
AIMS = {
    **{f"time / line time, {name}": Aim(1.2) for name in (*SHELLS, "uboot")},
    "round trips of a command": Aim(1),
    "seconds to attach to an idle shell": Aim(0.1),
    "seconds to import the engine": Aim(0.1),
}
_ENGINE = "import labctl.boards.session, labctl.boards.client, labctl.boards.dialects.posix_shell"


@dataclass(frozen=True)
class Timed:
    """What one command took.

    Attributes:
        seconds: Of each.
        count: What went over the line for all of them.
        without_board: The same seconds without those in which the line waited for the board.
    """

    seconds: Sequence[float]
    count: Count
    without_board: Sequence[float] = ()

    @property
    def quick(self) -> float:
        """Seconds of one that was not disturbed: the first decile."""
        return sorted(self.seconds)[len(self.seconds) // 10]

    @property
    def quick_without_board(self) -> float:
        """The same without the time in which the line waited for the board."""
        return sorted(self.without_board)[len(self.without_board) // 10]

    @property
    def bytes_back(self) -> float:
        """Bytes that came back for one."""
        return self.count.from_board / len(self.seconds)

    @property
    def line(self) -> float:
        """Line time of those, seconds."""
        return line_seconds(self.bytes_back, BAUD)

    def describe(self) -> dict[str, float]:
        """Return all of it, milliseconds and bytes."""
        runs = len(self.seconds)
        return {
            "ms, first decile": round(self.quick * 1e3, 2),
            "ms, median": round(statistics.median(self.seconds) * 1e3, 2),
            "line ms": round(self.line * 1e3, 2),
            "bytes back": round(self.bytes_back, 1),
            "bytes sent": round(self.count.to_board / runs, 1),
            "board thinks, mean ms": round(self.count.board_s / runs * 1e3, 2),
        }


def repeat(line: Wire, run: Callable[[], object], runs: int) -> Timed:
    """Time ``runs`` runs."""
    first = before = line.count()
    seconds, without_board = [], []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
        after = line.count()
        without_board.append(seconds[-1] - (after - before).board_s)
        before = after
    return Timed(seconds, before - first, without_board)


def ours(line: Wire, dialect: Dialect) -> tuple[Timed, float]:
    """Time our ``true``; return the round trips of one command too."""
    with owned(line.port) as channel:
        talk = session(channel, dialect)
        for _ in range(_WARM_UP):
            talk.run("true", timeout=30)
        timed = repeat(line, lambda: talk.run("true", timeout=30), _COMMANDS)
        returns = 0
        write = channel.write

        def counted(data: bytes) -> None:
            nonlocal returns
            returns += data.count(b"\r")
            write(data)

        channel.write = counted  # type: ignore[method-assign]
        talk.run("true", timeout=30)
        return timed, float(returns)


def theirs(line: Wire, kind: type[Pexpect] | type[PromptStyle], prompt: str) -> Timed:
    """Time a command of pexpect, or in the style of tbot."""
    with port(line.port) as channel:
        peer = kind(channel, prompt)
        peer.run("true")
        return repeat(line, lambda: peer.run("true"), _PEER_COMMANDS)


def labgrids(line: Wire, kind: str = "commands") -> Timed:
    """Time a command of labgrid."""
    with labgrid(kind, line.port, count=_PEER_COMMANDS) as peer:
        peer.hear()
        before = line.count()
        peer.go()
        peer.hear()
        count = line.count() - before
        peer.go()
        return Timed(peer.hear()["seconds"], count)


def embeddeds(line: Wire) -> Timed:
    """Time a command of pytest-embedded; its bytes are not told from those of its start."""
    before = line.count()
    seconds = embedded(line.port, kind="commands", count=_PEER_COMMANDS, command="true")["seconds"]
    return Timed(seconds, line.count() - before)


def attach_ours() -> float:
    """Return the seconds from connecting to the owner until an idle shell has proved itself."""
    with wire(SHELLS["dash"]) as line:
        with port(line.port) as channel:
            await_prompt(channel, PROMPT.encode())
        # The owner runs from the first use on; what is timed is the next client.
        with owned(line.port, lease=False) as first:
            began = time.perf_counter()
            with LineClient(first.place, first.config) as channel:
                channel.follow()
                channel.acquire("bench")
                if not session(channel).probe(5.0):
                    raise LabctlError("the shell does not answer")
                return time.perf_counter() - began


def attach_labgrid() -> float:
    """Return the seconds that labgrid takes to activate its ShellDriver on an idle shell."""
    with wire(SHELLS["dash"]) as line:
        with port(line.port) as channel:
            await_prompt(channel, PROMPT.encode())
        with labgrid("attach", line.port) as peer:
            _go(peer)
            return float(peer.hear()["seconds"])


def _go(peer: Labgrid) -> None:
    peer.hear()
    peer.go()


def import_seconds(python: str = sys.executable, what: str = _ENGINE) -> float:
    """Return what importing adds to the start of Python, seconds."""

    def start(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([python, "-c", code], check=True, timeout=60)
        return time.perf_counter() - began

    return min(start(what) for _ in range(9)) - min(start("pass") for _ in range(9))


def one_shell(name: str) -> dict[str, Timed]:
    """Return the times of everybody on one shell."""
    with wire(SHELLS[name], baud=BAUD) as line:
        with port(line.port) as channel:
            await_prompt(channel, PROMPT.encode(), exact=False)
        found = {"pexpect": theirs(line, Pexpect, PROMPT)}
        # What follows the prompt of the others (bracketed paste, CSI 6n) is too much for them:
        # they wait for a prompt that is the last, or behind white space.
        if name == "dash":
            found["tbot style"] = theirs(line, PromptStyle, PROMPT)
            found["pytest-embedded"] = embeddeds(line)
        if name != "bash":
            found["labgrid"] = labgrids(line)
        found["ours"], _ = ours(line, PosixShell())
    return found


def one_uboot() -> tuple[dict[str, Timed], float]:
    """Return the times of everybody on U-Boot, and our round trips."""
    with uboot(BAUD) as line:
        found = {
            "tbot style": theirs(line, PromptStyle, UBOOT_PROMPT),
            "pexpect": theirs(line, Pexpect, UBOOT_PROMPT),
            "labgrid": labgrids(line, "uboot_commands"),
        }
        found["ours"], returns = ours(line, UBootShell())
    return found, returns


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time everybody, in rounds; the best round of each counts, since the machine is shared."""
    go_first()
    best: dict[str, dict[str, Timed]] = {}
    returns = 0.0
    for number in range(options.runs):
        for name in (*SHELLS, "uboot"):
            if name == "uboot":
                found, returns = one_uboot()
            else:
                found = one_shell(name)
            kept = best.setdefault(name, {})
            for who, timed in found.items():
                if who not in kept or timed.quick < kept[who].quick:
                    kept[who] = timed
            shown = ", ".join(f"{who} {timed.quick * 1e3:.1f} ms" for who, timed in found.items())
            say(f"  round {number + 1} of {options.runs}, {name}: {shown}")
    ratios = {
        f"time / line time, {name}": who["ours"].quick / who["ours"].line
        for name, who in best.items()
    }
    ratios |= {
        f"the same but for the board's own time, {name}": who["ours"].quick_without_board
        / who["ours"].line
        for name, who in best.items()
    }
    ratios["round trips of a command"] = returns
    for name, everybody in best.items():
        for who, timed in everybody.items():
            ratios[f"ms, {name}, {who}"] = timed.quick * 1e3
            ratios[f"bytes back, {name}, {who}"] = timed.bytes_back
    runs = range(3)
    ratios["seconds to attach to an idle shell"] = min(attach_ours() for _ in runs)
    ratios["seconds to attach to an idle shell, labgrid"] = attach_labgrid()
    ratios["seconds to import the engine"] = import_seconds()
    return Report(
        bench="console_latency",
        unit="ms for 'true' on dash at 115200",
        ours=best["dash"]["ours"].quick * 1e3,
        floor=best["dash"]["ours"].line * 1e3,
        peers={who: one.quick * 1e3 for who, one in best["dash"].items() if who != "ours"},
        ratios=ratios,
        aims=AIMS,
        details={
            f"{name}, {who}": timed.describe()
            for name, everybody in best.items()
            for who, timed in everybody.items()
        },
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser((__doc__ or "").partition("\n")[0], runs=3).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
