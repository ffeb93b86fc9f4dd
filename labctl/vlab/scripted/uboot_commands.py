"""U-Boot's commands, as far as the board has them; their answers are those of U-Boot 2023.01.

Checked against Debian's u-boot-qemu 2023.01+dfsg-2+deb12u3 (qemu_arm64).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.fileio import write_atomic
from labctl.vlab.scripted.hush import expand, parse
from labctl.vlab.scripted.loady import Loady
from labctl.vlab.scripted.memory import BASE as RAM_BASE
from labctl.vlab.scripted.memory import SIZE as RAM_SIZE
from labctl.vlab.scripted.memory import Memory

VERSION = "U-Boot 2023.01-labctl (Jan 10 2023 - 00:00:00 +0000)"
PROMPT = "=> "

# What each command is, for ``help``.
_HELP = {
    "bdinfo": "print Board Info structure",
    "boot": "boot default, i.e., run 'bootcmd'",
    "booti": "boot Linux kernel 'Image' format from memory",
    "crc32": "checksum calculation",
    "echo": "echo args to console",
    "env": "environment handling commands",
    "false": "do nothing, unsuccessfully",
    "help": "print command description/usage",
    "loady": "load binary file over serial line (ymodem mode)",
    "md": "memory display",
    "mw": "memory write (fill)",
    "printenv": "print environment variables",
    "reset": "Perform RESET of the CPU",
    "run": "run commands in an environment variable",
    "saveenv": "save environment variables to persistent storage",
    "setenv": "set environment variables",
    "sleep": "delay execution for some time",
    "true": "do nothing, successfully",
    "version": "print monitor, compiler and linker version",
}
_USAGE = {
    "crc32": "crc32 address count",
    "env": "env print|set|delete|save|default -a",
    "loady": "loady [ addr [ baud ] ]",
    "md": "md [.b, .w, .l, .q] address [# of objects]",
    "mw": "mw [.b, .w, .l, .q] address value [count]",
    "run": "run var [...]",
    "setenv": "setenv name [value ...]",
    "sleep": "sleep N",
}
# A run that calls itself stops here; the real one overflows its stack.
_DEEPEST = 16
_ONCE_ONLY = frozenset({"setenv", "saveenv", "env", "reset", "boot", "booti"})
_SIZES = {"b": 1, "w": 2, "l": 4, "q": 8}


@dataclass(frozen=True)
class Wire:
    """What ``loady`` needs of the line.

    Attributes:
        baud: Rate of the console.
        emit: Sends bytes as they are.
        set_rate: Sets the rate of the board's end, baud, once all is sent.
    """

    baud: int
    emit: Callable[[bytes], None]
    set_rate: Callable[[int], None]


class Commands:
    """The interpreter, without its line editor.

    Args:
        say: Prints text; a newline is a newline.
        store: File of the saved environment.
        defaults: The environment where none is saved.
        reset: What ``reset`` does.
        start_linux: What ``booti`` does.
        wire: The line itself, for ``loady``.

    Attributes:
        loading: The transfer that gets what comes over the line, or None.
        env: The environment.
        repeatable: Whether an empty line may run the last line again.
        loaded: Whether there was a saved environment.
        left: Whether a command has left U-Boot for good.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        store: Path,
        defaults: dict[str, str],
        reset: Callable[[], None],
        start_linux: Callable[[], None],
        wire: Wire,
    ) -> None:
        self._say = say
        self._store = store
        self._defaults = defaults
        self._reset = reset
        self._start_linux = start_linux
        self._wire = wire
        self.loading: Loady | None = None
        self._memory = Memory()
        self._local: dict[str, str] = {}
        self._status = 0
        self.left = False
        self.repeatable = True
        saved = _load(store)
        self.loaded = saved is not None
        self.env = dict(defaults) if saved is None else saved

    def run(self, text: str, depth: int = 0) -> Iterator[float]:
        """Run what was typed; yields seconds to wait before going on.

        Raises:
            UnfinishedError: A quote is not closed.
            AbortError: A command touched memory that is not there.
        """
        skipping = False
        for command in parse(text):
            # As in the real one: what is skipped after && or || is all up to the next semicolon.
            if command.joint == ";":
                skipping = False
            elif (command.joint == "&&") != (self._status == 0):
                skipping = True
            if skipping:
                continue
            words = expand(command.words, self._value)
            if not words:
                continue
            assignment = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", words[0], re.DOTALL)
            if assignment and len(words) == 1:
                self._local[assignment[1]] = assignment[2]
                self._status = 0
                continue
            yield from self._execute(words, depth)
            if self.left:
                return

    def _value(self, name: str) -> str:
        if name == "?":
            return str(self._status)
        return self._local.get(name) or self.env.get(name, "")

    def _execute(self, words: Sequence[str], depth: int) -> Iterator[float]:
        name, arguments = words[0], words[1:]
        base, _, suffix = name.partition(".")
        if base in _ONCE_ONLY:
            self.repeatable = False
        if name == "sleep" and len(arguments) == 1:
            yield float(arguments[0]) if re.fullmatch(r"\d+(\.\d+)?", arguments[0]) else 0.0
            self._status = 0
        elif name in ("run", "boot", "bootd"):
            yield from self._run_variables(list(arguments) if name == "run" else ["bootcmd"], depth)
        elif name == "loady" and len(arguments) <= 2:
            yield from self._loady(arguments)
        elif base in ("md", "mw") and (suffix in _SIZES or name == base):
            method = self._md if base == "md" else self._mw
            self._status = method(arguments, _SIZES[suffix or "l"])
        elif simple := self._methods().get(name):
            self._status = simple(arguments)
        elif name in _HELP:
            self._status = self._usage(name)
        else:
            self._say(f"Unknown command '{name}' - try 'help'\n")
            self._status = 1

    def _loady(self, arguments: Sequence[str]) -> Iterator[float]:
        address = _hex(arguments[0] if arguments else self.env.get("loadaddr", "0"))
        base = self._wire.baud
        rate = int(arguments[1]) if len(arguments) == 2 and arguments[1].isdigit() else base
        self.loading = Loady(
            self._say, self._wire.emit, self._memory, address, base, rate, self._wire.set_rate
        )
        try:
            yield from self.loading.run()
            self._status = self.loading.status
        finally:
            self.loading = None

    def _methods(self) -> dict[str, Callable[[Sequence[str]], int]]:
        return {
            "?": self._help,
            "bdinfo": self._bdinfo,
            "booti": self._booti,
            "crc32": self._crc32,
            "echo": self._echo,
            "env": self._env,
            "false": lambda _: 1,
            "help": self._help,
            "printenv": self._printenv,
            "reset": self._do_reset,
            "saveenv": lambda _: self._saveenv(),
            "setenv": self._setenv,
            "true": lambda _: 0,
            "version": self._version,
        }

    def _usage(self, name: str) -> int:
        self._say(f"{name} - {_HELP[name]}\n\nUsage:\n{_USAGE.get(name, name)}\n")
        return 1

    def _run_variables(self, names: list[str], depth: int) -> Iterator[float]:
        if not names:
            self._status = self._usage("run")
        for name in names:
            if name not in self.env:
                self._say(f'## Error: "{name}" not defined\n')
                self._status = 1
            elif depth >= _DEEPEST:
                self._status = 1
            else:
                yield from self.run(self.env[name], depth + 1)
            if self._status or self.left:
                return

    def _help(self, arguments: Sequence[str]) -> int:
        if arguments and arguments[0] in _HELP:
            self._usage(arguments[0])
            return 0
        for name, text in sorted(_HELP.items()):
            self._say(f"{name:<10}- {text}\n")
        return 0

    def _version(self, _: Sequence[str]) -> int:
        self._say(f"{VERSION}\n\nlabctl scripted board\n")
        return 0

    def _do_reset(self, _: Sequence[str]) -> int:
        self._say("resetting ...\n")
        self.left = True
        self._reset()
        return 0

    def _bdinfo(self, _: Sequence[str]) -> int:
        # It has no stack of its own to tell of; a real one of this size keeps the last 16 MiB.
        self._say(
            f"boot_params = 0x0000000000000000\nDRAM bank   = 0x0000000000000000\n"
            f"-> start    = 0x{RAM_BASE:016x}\n-> size     = 0x{RAM_SIZE:016x}\n"
            f"sp start    = 0x{RAM_BASE + RAM_SIZE - (16 << 20):016x}\n"
        )
        return 0

    def _booti(self, _: Sequence[str]) -> int:
        self.left = True
        self._start_linux()
        return 0

    def _echo(self, arguments: Sequence[str]) -> int:
        silent = bool(arguments) and arguments[0] == "-n"
        self._say(" ".join(arguments[1:] if silent else arguments) + ("" if silent else "\n"))
        return 0

    def _printenv(self, arguments: Sequence[str]) -> int:
        status = 0
        for name in arguments:
            if name in self.env:
                self._say(f"{name}={self.env[name]}\n")
            else:
                self._say(f'## Error: "{name}" not defined\n')
                status = 1
        if not arguments:
            lines = [f"{name}={value}\n" for name, value in sorted(self.env.items())]
            self._say("".join(lines))
            size = sum(len(line) for line in lines)
            self._say(f"\nEnvironment size: {size}/262140 bytes\n")
        return status

    def _setenv(self, arguments: Sequence[str]) -> int:
        if not arguments:
            return self._usage("setenv")
        name, value = arguments[0], " ".join(arguments[1:])
        if "=" in name:
            self._say(f"## Error: illegal character '='in variable name \"{name}\"\n")
            return 1
        if value:
            self.env[name] = value
        else:
            self.env.pop(name, None)
        return 0

    def _saveenv(self) -> int:
        self._say("Saving Environment to Flash... ")
        try:
            write_atomic(self._store, json.dumps(self.env))
        except OSError:
            self._say("Failed (1)\n")
            return 1
        self._say("OK\n")
        return 0

    def _env(self, arguments: Sequence[str]) -> int:
        match list(arguments):
            case ["print", *rest]:
                return self._printenv(rest)
            case ["set", *rest]:
                return self._setenv(rest)
            case ["delete", *rest] if rest:
                for name in rest:
                    self.env.pop(name, None)
                return 0
            case ["save"]:
                return self._saveenv()
            case ["default", "-a"]:
                self._say("## Resetting to default environment\n")
                self.env = dict(self._defaults)
                return 0
        return self._usage("env")

    def _crc32(self, arguments: Sequence[str]) -> int:
        if len(arguments) != 2:
            return self._usage("crc32")
        address, count = map(_hex, arguments)
        crc = self._memory.crc32(address, count)
        self._say(f"crc32 for {address:08x} ... {address + count - 1:08x} ==> {crc:08x}\n")
        return 0

    def _md(self, arguments: Sequence[str], size: int) -> int:
        if not 1 <= len(arguments) <= 2:
            return self._usage("md")
        address = _hex(arguments[0])
        count = (_hex(arguments[1]) if len(arguments) == 2 else 0x40) * size
        for at in range(address, address + count, 16):
            row = self._memory.read(at, min(16, address + count - at))
            cells = [
                f"{int.from_bytes(row[place : place + size], 'little'):0{size * 2}x}"
                for place in range(0, len(row), size)
            ]
            seen = "".join(chr(value) if 0x20 <= value < 0x7F else "." for value in row)
            width = 16 // size * (size * 2 + 1)
            line = f"{at:08x}:{''.join(' ' + cell for cell in cells):<{width}}  {seen}"
            self._say(line + "\n")
        return 0

    def _mw(self, arguments: Sequence[str], size: int) -> int:
        if not 2 <= len(arguments) <= 3:
            return self._usage("mw")
        address, value = _hex(arguments[0]), _hex(arguments[1])
        count = _hex(arguments[2]) if len(arguments) == 3 else 1
        cell = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self._memory.read(address, min(count * size, 1))  # the first address faults before any
        step = 65536 // size
        for start in range(0, count, step):
            self._memory.write(address + start * size, cell * min(step, count - start))
        return 0


def _hex(text: str) -> int:
    """Return a number as U-Boot reads it: hexadecimal, up to the first other character."""
    found = re.match(r"(?:0x)?([0-9a-fA-F]{1,16})", text)
    return int(found[1], 16) if found else 0


def _load(store: Path) -> dict[str, str] | None:
    try:
        data = json.loads(store.read_text())
    except (OSError, ValueError):
        return None
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else None
