"""Patterns of a model as they are used: on bytes, at the beginning of a line."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The prefix of a kernel message (see `labctl.boards.noise`). The kernel prints it between any two
# bytes, so after it a line need not have begun.
_KERNEL = r"(?:^\r?|\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? )"
# What software says when it gives up, whatever board it runs on.
_KERNEL_PANICS = (
    # kernel/panic.c, panic()
    r"Kernel panic - not syncing",
    # arch/arm64/kernel/traps.c and arch/arm/kernel/traps.c, die(): "Internal error: Oops: ..."
    r"Internal error: ",
    # arch/{arm,arm64,riscv}/mm/fault.c
    r"Unable to handle kernel ",
    # arch/x86/mm/fault.c, show_fault_oops(); lib/bug.c, report_bug()
    r"BUG: (?:unable to handle|kernel NULL pointer)",
    r"kernel BUG at ",
    # arch/{x86,riscv,powerpc}/kernel/traps.c, die(): "Oops: 0002 [#1] SMP", "Oops [#1]"
    r"Oops\b[^\r\n]*\[#\d+\]",
)
_PANICS = (
    # U-Boot, lib/hang.c
    r"### ERROR ### Please RESET the board ###",
    # U-Boot, arch/arm/lib/interrupts_64.c and interrupts.c
    r'(?:Bad mode in )?"(?:Synchronous Abort|Error|Irq|Fiq)" handler, esr',
    r"(?:undefined instruction|prefetch abort|data abort)\r?$",
    # U-Boot, arch/riscv/lib/interrupts.c
    r"Unhandled exception: ",
    # ESP-IDF Programming Guide, "Fatal Errors"
    r"Guru Meditation Error: ",
    r"abort\(\) was called at PC ",
    # Zephyr, kernel/fatal.c, with the prefix of its log
    r"(?:\[[\d:.,]+\] <err> os: )?>>> ZEPHYR FATAL ERROR",
    # Mbed OS, platform/source/TARGET_CORTEX_M/mbed_fault_handler.c, platform/source/mbed_error.c
    r"\+\+ MbedOS (?:Fault Handler|Error Info) \+\+",
)


def prompt(pattern: str) -> re.Pattern[bytes]:
    """Return ``pattern`` for matching at a position, as a prompt is (see `labctl.boards.signs`).

    Raises:
        re.error: It is not a regular expression on bytes.
    """
    return re.compile(pattern.encode())


def line_start(pattern: str) -> re.Pattern[bytes]:
    """Return ``pattern`` for searching it at the beginnings of lines.

    Raises:
        re.error: It is not a regular expression on bytes.
    """
    return re.compile(rb"(?m)^\r?(?:" + pattern.encode() + rb")")


def panics(own: Iterable[str]) -> tuple[re.Pattern[bytes], ...]:
    """Return what a panic looks like: what is known of all boards, and a model's ``own``."""
    kernel = [re.compile(f"(?m){_KERNEL}(?:{text})".encode()) for text in _KERNEL_PANICS]
    return (*kernel, *(line_start(text) for text in (*_PANICS, *own)))
