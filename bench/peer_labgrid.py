"""labgrid on a line, run by the Python of its own environment; prints what it measured as JSON.

It needs an environment of its own: labgrid brings pyserial-labgrid, and pyserial in the same one
replaces it. Nothing of labctl is imported here. Told "ready", whoever started it may let the
kernel talk, and answers with a line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from labgrid import Target
from labgrid.driver import SerialDriver, ShellDriver, UBootDriver, shelldriver
from labgrid.resource import NetworkSerialPort, RawSerialPort
from pexpect import TIMEOUT

# labgrid waits 30 s for its prompt check; cut so that a lost prompt does not take half an hour.
_PATIENCE_S = 2
_SHELL = {"prompt": r"box:~# ", "login_prompt": " login: ", "username": "root"}

Numbers = dict[str, Any]


def port(words: argparse.Namespace) -> Target:
    """Return a target with a console on the port."""
    target = Target("bench")
    if "://" in words.port:
        protocol, _, place = words.port.partition("://")
        host, _, number = place.rpartition(":")
        NetworkSerialPort(
            target, name=None, host=host, port=int(number), speed=115200, protocol=protocol
        )
    else:
        RawSerialPort(target, name=None, port=words.port, speed=115200)
    SerialDriver(target, name=None)
    return target


def shell(words: argparse.Namespace) -> Any:
    """Return a shell driver that is not active yet."""
    target = port(words)
    return target, ShellDriver(target, name=None, **_SHELL)


def ready() -> None:
    """Say so, and wait for a line."""
    os.write(1, b'"ready"\n')
    sys.stdin.readline()


def cpu_seconds() -> float:
    """Return the processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def attach(words: argparse.Namespace) -> Numbers:
    """Activate the driver on an idle shell."""
    target, driver = shell(words)
    ready()
    began = time.monotonic()
    target.activate(driver)
    return {"seconds": time.monotonic() - began}


def noise(words: argparse.Namespace) -> Numbers:
    """Run commands while kernel messages come in between."""
    target, driver = shell(words)
    target.activate(driver)
    ready()
    right = wrong = 0
    for number in range(words.count):
        try:
            lines, _, code = driver.run(
                f"seq {number} {number + 24}; (exit {number})", timeout=_PATIENCE_S
            )
        except Exception:  # whatever it raises, it noticed
            continue
        said = "\n".join(lines).replace("\r", "").strip("\n").split("\n")
        fine = (said, code) == ([str(one) for one in range(number, number + 25)], number)
        right, wrong = right + fine, wrong + (not fine)
    return {"right": right, "wrong": wrong}


def commands(words: argparse.Namespace) -> Numbers:
    """Time one command again and again."""
    target, driver = shell(words)
    target.activate(driver)
    return repeated(lambda: driver.run(words.command), words.count)


def uboot_commands(words: argparse.Namespace) -> Numbers:
    """Time one command of U-Boot again and again."""
    target = port(words)
    driver = UBootDriver(target, name=None, prompt="\n=> ", interrupt=" ")
    target.activate(driver)
    return repeated(lambda: driver.run(words.command), words.count)


def repeated(run: Callable[[], object], count: int) -> Numbers:
    """Return the seconds of each of ``count`` runs."""
    run()
    ready()
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        run()
        seconds.append(time.monotonic() - began)
    os.write(1, b'"done"\n')
    sys.stdin.readline()
    return {"seconds": seconds}


def output(words: argparse.Namespace) -> Numbers:
    """Let one command print much."""
    target, driver = shell(words)
    target.activate(driver)
    ready()
    before = cpu_seconds()
    began = time.monotonic()
    lines, _, _ = driver.run(words.command, timeout=600)
    return {
        "cpu": cpu_seconds() - before,
        "seconds": time.monotonic() - began,
        "bytes": sum(map(len, lines)) + len(lines),
    }


def drain(words: argparse.Namespace) -> Numbers:
    """Read what comes for at most so many seconds."""
    target = port(words)
    console = target.get_driver("SerialDriver")
    ready()
    count = 0
    began = time.monotonic()
    while count < words.count and time.monotonic() - began < words.seconds:
        try:
            count += len(console.read(size=1, timeout=1.0))
        except TIMEOUT:
            continue
    return {"bytes": count, "seconds": time.monotonic() - began}


def crc32(words: argparse.Namespace) -> Numbers:
    """Run crc32 on U-Boot; its output holds what looks like the prompt."""
    target = port(words)
    driver = UBootDriver(target, name=None, prompt=words.prompt.encode().decode("unicode_escape"))
    driver.interrupt = " "
    target.activate(driver)
    right, later, said = 0, 0, ""
    for number in range(words.count):
        # The last five are harmless, to show that it never comes right again.
        harmless = number >= words.count - 5
        command = f"echo {number}" if harmless else words.command
        try:
            lines, _, code = driver.run(command, timeout=_PATIENCE_S)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:120]
            continue
        fine = code == 0 and (
            lines == [str(number)] if harmless else len(lines) == 1 and "==> " in lines[0]
        )
        right += fine
        later += fine and harmless
    return {"right": right, "harmless right": later, "said": said}


def main() -> None:
    """Measure one thing."""
    kinds = {
        one.__name__: one for one in (attach, noise, commands, uboot_commands, output, drain, crc32)
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("port")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--command", default="true")
    parser.add_argument("--prompt", default="=> ")
    words = parser.parse_args()
    real = shelldriver.ShellDriver._check_prompt

    def impatient(driver: Any) -> None:
        expect = driver.console.expect
        driver.console.expect = lambda pattern, timeout: expect(pattern, timeout=_PATIENCE_S)
        try:
            real(driver)
        finally:
            driver.console.expect = expect

    if words.kind == "noise":
        shelldriver.ShellDriver._check_prompt = impatient
    os.write(1, json.dumps(kinds[words.kind](words)).encode() + b"\n")


if __name__ == "__main__":
    main()
