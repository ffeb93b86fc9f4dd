"""Are the answers right? Commands through kernel messages, and a prompt inside the output.

Noise: sixty commands on dash while kernel messages come between any two bytes at 0.5 %. Prompt:
`crc32` a thousand times on a real U-Boot in QEMU, which prints ``==> ``.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pexpect
from console_peers import Pexpect, labgrid
from harness import Aim, Report, Say, argument_parser, run_bench
from ours import UBOOT_PROMPT, Port, await_prompt, port, session
from wire import PROMPT, Wire, wire

from labctl.boards.dialects.uboot import UBootShell
from labctl.errors import DependencyError, LabctlError

COMMANDS = 60
NOISE = 0.005
CRC32 = "crc32 0x40000000 0x100"
CRC32_RUNS = 1000
# So many of a peer's that waits seconds for each that it loses.
CRC32_PEER_RUNS = 20
AIMS = {
    "ours": Aim(COMMANDS, at_most=False),
    "silently wrong": Aim(0),
    "crc32 right of 1000": Aim(CRC32_RUNS, at_most=False),
}
_CRC32 = re.compile(rb"crc32 for 40000000 \.\.\. 400000ff ==> [0-9a-f]{8}\s+")
_FIRMWARE = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
_QEMU = "qemu-system-aarch64"


def wanted(number: int) -> bytes:
    """Return what command ``number`` prints."""
    return "".join(f"{one}\n" for one in range(number, number + 25)).encode()


@contextlib.contextmanager
def quiet_shell(baud: int = 0) -> Iterator[Wire]:
    """Run dash behind a line, and wait for its prompt."""
    with wire(["dash", "-i"], baud=baud) as line:
        with port(line.port) as channel:
            await_prompt(channel, PROMPT.encode())
        yield line


def ours_noise(line: Wire) -> tuple[int, int]:
    """Return how many answers were right, and how many were wrong without a word."""
    right = wrong = 0
    with port(line.port) as channel:
        talk = session(channel)
        line.noise(NOISE)
        for number in range(COMMANDS):
            with contextlib.suppress(LabctlError):
                result = talk.run(f"seq {number} {number + 24}; (exit {number})", timeout=30)
                fine = (result.output, result.exit_code) == (wanted(number), number)
                right, wrong = right + fine, wrong + (not fine)
    return right, wrong


def pexpect_noise(line: Wire) -> tuple[int, int]:
    """Do the same with pexpect."""
    right = wrong = 0
    with port(line.port) as channel:
        child = Pexpect(channel)
        line.noise(NOISE)
        for number in range(COMMANDS):
            try:
                output, code = child.run(f"seq {number} {number + 24}; (exit {number})")
            except pexpect.ExceptionPexpect:
                continue
            fine = output == wanted(number) and code == str(number).encode()
            right, wrong = right + fine, wrong + (not fine)
    return right, wrong


def labgrid_noise(line: Wire) -> tuple[int, int]:
    """Do the same with labgrid's ShellDriver."""
    with labgrid("noise", line.port, cap_s=400.0, count=COMMANDS) as peer:
        peer.hear()
        line.noise(NOISE)
        peer.go()
        numbers = peer.hear()
    return numbers["right"], numbers["wrong"]


@contextlib.contextmanager
def uboot(baud: int = 0) -> Iterator[Wire]:
    """Run U-Boot in QEMU behind a line, and stop it at its prompt.

    Raises:
        DependencyError: QEMU or the firmware is not installed.
    """
    if shutil.which(_QEMU) is None or not _FIRMWARE.exists():
        raise DependencyError("is not installed", thing="QEMU or U-Boot",
                              action="apt install qemu-system-arm u-boot-qemu")  # fmt: skip
    # Without QEMU's own keys: Ctrl-A begins a block of X- and YMODEM.
    machine = ["-M", "virt", "-cpu", "cortex-a57", "-display", "none", "-nic", "none"]
    machine += ["-monitor", "none", "-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c"]
    with wire([_QEMU, *machine, "-bios", str(_FIRMWARE)], baud=baud) as line:
        with port(line.port) as channel:
            await_prompt(channel, b"autoboot: ", exact=False)
            channel.write(b" ")
            await_prompt(channel, UBOOT_PROMPT.encode())
            # Bytes that come before U-Boot reads them stay in QEMU for seconds now and then.
            while channel.read(0.3):
                pass
        yield line


def ours_crc32(channel: Port, runs: int) -> int:
    """Return how many of ``runs`` answers are right."""
    talk = session(channel, UBootShell())
    right = 0
    for _ in range(runs):
        with contextlib.suppress(LabctlError):
            result = talk.run(CRC32, timeout=30)
            right += result.exit_code == 0 and bool(_CRC32.fullmatch(result.output))
    return right


def pexpect_crc32(channel: Port) -> int:
    """Do the same with pexpect."""
    child = Pexpect(channel, UBOOT_PROMPT)
    right = 0
    for _ in range(CRC32_PEER_RUNS):
        with contextlib.suppress(pexpect.ExceptionPexpect):
            output, code = child.run(CRC32)
            right += code == b"0" and bool(_CRC32.fullmatch(output))
    return right


def labgrid_crc32(prompt: str) -> dict[str, object]:
    """Do the same with labgrid's UBootDriver, and five harmless commands behind."""
    with uboot() as line, labgrid(
        "crc32", line.port, count=CRC32_PEER_RUNS, command=CRC32, prompt=prompt
    ) as peer:  # fmt: skip
        numbers: dict[str, object] = peer.hear()
    return numbers


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run everything once; what counts is right answers, not time."""
    found = {}
    contenders = {"ours": ours_noise, "pexpect": pexpect_noise, "labgrid": labgrid_noise}
    for name, run in contenders.items():
        with quiet_shell() as line:
            found[name] = run(line)
        say(f"  sixty commands through kernel messages, {name}: {found[name][0]} right")
    with uboot() as line, port(line.port) as channel:
        crc32 = ours_crc32(channel, CRC32_RUNS)
    say(f"  crc32 on U-Boot: {crc32} of {CRC32_RUNS} right")
    with uboot() as line, port(line.port) as channel:
        crc32_pexpect = pexpect_crc32(channel)
    usual, anchored = labgrid_crc32("=> "), labgrid_crc32(r"\n=> ")
    of = f"of {CRC32_PEER_RUNS}"
    return Report(
        bench="console_noise",
        unit=f"right answers of {COMMANDS} under noise",
        ours=float(found["ours"][0]),
        peers={name: float(found[name][0]) for name in ("pexpect", "labgrid")},
        ratios={
            "silently wrong": float(found["ours"][1]),
            "silently wrong, pexpect": float(found["pexpect"][1]),
            "silently wrong, labgrid": float(found["labgrid"][1]),
            "crc32 right of 1000": float(crc32),
            f"crc32 right {of}, pexpect": float(crc32_pexpect),
            f"crc32 and five more right {of}, labgrid '=> '": float(str(usual["right"])),
            "of those five, right": float(str(usual["harmless right"])),
            f"crc32 and five more right {of}, labgrid '\\n=> '": float(str(anchored["right"])),
        },
        aims=AIMS,
        details={"labgrid '=> ' says": usual["said"]},
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser((__doc__ or "").partition("\n")[0], runs=1).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
