"""U-Boot's commands as functions, their answers checked.

U-Boot prints no checksum of what it prints; so an answer that is a number is asked for again where
it is not what was hoped for, and nothing is believed that does not fit its pattern as a whole.

Source: U-Boot's documentation, doc/usage/cmd/; include/image.h.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

from labctl.boards.bench import Bench
from labctl.boards.flash.method import FlashError, Identity
from labctl.errors import LabctlError

_CRC = re.compile(rb"crc32 for ([0-9a-f]{8,16}) \.\.\. ([0-9a-f]{8,16}) ==> ([0-9a-f]{8})\s*$")
_HELP = re.compile(rb"^(\w+) +- ", re.MULTILINE)
_RESERVED = re.compile(rb"reserved\[\d+\]\s*\[0x([0-9a-f]+)-0x([0-9a-f]+)\]")
_STACK = re.compile(rb"(?:sp start|irq_sp)\s*=\s*0x([0-9a-f]+)")
# Below its stack pointer U-Boot's stack grows; loading keeps so far away (CONFIG_STACK_SIZE and
# what lmb keeps free, lib/lmb.c: arch_lmb_reserve_generic).
_STACK_ROOM = 1 << 20
# As many times as a wrong digest is asked for again: the words may have been damaged on the line.
_LOOKS = 2
# bytes/s that a slow core digests at least; deadlines follow from it.
_SLOWEST = 2 << 20
_VARIABLES = ("board_name", "board", "vendor", "cpu", "arch", "serial#", "ethaddr", "eth1addr")
_UNIQUE = frozenset({"serial#", "ethaddr", "eth1addr"})
# U-Boot's $arch and ELF's names of the same processors.
_ARCHITECTURES = {"riscv": "riscv64", "x86": "x86_64", "powerpc": "ppc", "sandbox": None}


class Monitor:
    """The U-Boot of a board that is at its prompt.

    Args:
        bench: The board, its line leased.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.name = bench.name
        self._commands: frozenset[str] | None = None
        # Where U-Boot, its stack and its firmware begin; asked for once.
        self._taken: list[int] | None = None

    def run(self, command: str, *, timeout: float = 30.0) -> bytes:
        """Run ``command`` and return what it printed.

        Raises:
            FlashError: It failed; the message has U-Boot's words.
        """
        assert self.bench.uboot is not None
        result = self.bench.uboot.run(command, timeout=timeout)
        if result.exit_code:
            words = result.output.decode("ascii", "replace").strip().splitlines()
            said = next((one.strip() for one in reversed(words) if one.strip()), "nothing")
            raise FlashError(f"U-Boot's '{command}' failed: {said}", thing=self.name)
        return result.output

    def has(self, command: str) -> bool:
        """Tell whether this U-Boot knows ``command``."""
        if self._commands is None:
            found = _HELP.findall(self.run("help"))
            self._commands = frozenset(one.decode("ascii") for one in found)
        return command in self._commands

    def variables(self, names: Sequence[str]) -> dict[str, str]:
        """Return those of the environment variables ``names`` that are set."""
        line = ";".join(f'echo "{name}=${{{name}}}"' for name in names)
        values = {}
        for text in self.run(line).decode("ascii", "replace").splitlines():
            name, _, value = text.strip().partition("=")
            if name in names and value:
                values[name] = value
        return values

    def identity(self) -> Identity:
        """Return what the board says of itself."""
        facts = self.variables(_VARIABLES)
        version = self.run("version").decode("ascii", "replace").split("\n", 1)[0].strip()
        facts["u-boot"] = version.split(" (", 1)[0].removeprefix("U-Boot ")
        arch = facts.get("arch")
        # U-Boot says "arm" of 32 and of 64 bits; its processor tells.
        if arch == "arm" and facts.get("cpu") == "armv8":
            arch = "aarch64"
        return Identity(
            facts=facts,
            unique=_UNIQUE & facts.keys(),
            architecture=_ARCHITECTURES.get(arch, arch) if arch else None,
        )

    # -- memory ------------------------------------------------------------------------------

    def ceiling(self, base: int) -> int:
        """Return the first address above ``base`` that is somebody's: U-Boot's, or its firmware's.

        Nothing may be loaded there or beyond.

        Raises:
            LabctlError: It does not say where it is itself.
        """
        if self._taken is None:
            text = self.run("bdinfo")
            self._taken = [int(start, 16) for start, _ in _RESERVED.findall(text)]
            self._taken += [int(stack, 16) - _STACK_ROOM for stack in _STACK.findall(text)]
        above = [start for start in self._taken if start > base]
        if not above:
            raise LabctlError(
                f"its bdinfo does not say up to where RAM from {base:#x} on is free",
                thing=self.name, action="give a lower 'load' in its model",
            )  # fmt: skip
        return min(above)

    def crc32(self, address: int, size: int) -> int:
        """Return the CRC-32 (that of zlib) of memory, computed on the board."""
        return self.crc32s([(address, size)])[0]

    def crc32s(self, extents: Sequence[tuple[int, int]]) -> list[int]:
        """Return the CRC-32 of each of ``extents`` (address, bytes), in few round trips."""
        sums: list[int] = []
        for group in self._lines([f"crc32 {a:#x} {n:#x}" for a, n in extents]):
            part = extents[len(sums) : len(sums) + len(group)]
            seconds = 10.0 + sum(size for _, size in part) / _SLOWEST
            lines = self.run(";".join(group), timeout=seconds).splitlines()
            found = [match for match in map(_CRC.search, lines) if match]
            for (address, size), match in zip(part, found, strict=False):
                if int(match[1], 16) != address or int(match[2], 16) != address + size - 1:
                    break
                sums.append(int(match[3], 16))
            if len(found) != len(part) or len(sums) < len(part):
                raise FlashError("its crc32 gave no proper answer", thing=self.name,
                                 action="run it again")  # fmt: skip
        return sums

    def matches(self, address: int, data: bytes) -> bool:
        """Tell whether memory at ``address`` holds ``data``."""
        wanted = zlib.crc32(data)
        return any(self.crc32(address, len(data)) == wanted for _ in range(_LOOKS))

    def run_all(self, commands: Sequence[str], *, timeout: float = 30.0) -> bytes:
        """Run ``commands``, as many on a line as fit, until one fails; return what they printed.

        Raises:
            FlashError: One of them failed.
        """
        return b"".join(
            self.run(" && ".join(group), timeout=timeout)
            for group in self._lines(commands, joint=len(" && "))
        )

    def _lines(self, commands: Sequence[str], *, joint: int = 1) -> Iterator[list[str]]:
        """Yield ``commands`` in groups that fit one line with ``joint`` bytes between them."""
        assert self.bench.uboot is not None
        # The marks around an answer take their part of the line.
        room = self.bench.model.line_limit - 120
        group: list[str] = []
        for command in commands:
            if group and sum(map(len, group)) + joint * len(group) + len(command) > room:
                yield group
                group = []
            group.append(command)
        if group:
            yield group
