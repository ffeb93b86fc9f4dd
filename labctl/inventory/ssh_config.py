"""OpenSSH client configuration: what ssh would use for a host.

Evaluated here, not with paramiko's parser, because that one knows no Include, and an Include
inside a Host block cannot be expanded beforehand: its own Host blocks hold only where the outer
one holds. The tests compare the results with ``ssh -G``.
Source: ssh_config(5) and readconf.c of OpenSSH 9.2 and, where they differ, 10.3.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import UsageError
from labctl.inventory.ssh_match import Facts, MatchError, match_block, match_host, split_arguments
from labctl.inventory.textfile import MAX_SIZE

# READCONF_MAX_DEPTH in readconf.c.
MAX_INCLUDE_DEPTH = 16
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

# Taken to the end of the line, as a command for the shell or by their own parser.
_RAW = frozenset(
    {"proxycommand", "proxyjump", "localcommand", "remotecommand", "knownhostscommand"}
)
# Every value counts, not only the first.
_COLLECTED = frozenset(
    {"identityfile", "certificatefile", "sendenv", "localforward", "remoteforward"}
)
# Several files in one value.
_FILE_LISTS = frozenset({"userknownhostsfile", "globalknownhostsfile"})
_LINE = re.compile(r'\s*"?([A-Za-z0-9]+)"?(?:\s*=\s*|\s+|$)(.*)', re.DOTALL)


@dataclass(frozen=True)
class Line:
    """One directive: where it stands, its keyword in lower case, and the rest of the line."""

    path: Path
    number: int
    keyword: str
    rest: str


@dataclass
class Options:
    """What was found for a host: the first value of each keyword, in lower case.

    Attributes:
        values: Keywords with one value (the whole argument text, unquoted).
        lists: Keywords of which every value counts, such as ``identityfile``.
    """

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def get(self, keyword: str) -> str | None:
        """Return the value of ``keyword`` (lower case), or None."""
        return self.values.get(keyword)

    def put(self, keyword: str, rest: str) -> None:
        """Take the directive unless an earlier one decides.

        Raises:
            MatchError: A quote is not closed.
        """
        if keyword in _RAW:
            # parse_jump() ends the value at a comment; a command keeps it, for its shell.
            rest = rest.partition("#")[0].rstrip() if keyword == "proxyjump" else rest
            # Of ProxyCommand and ProxyJump the first one decides for both, except that
            # "ProxyJump none" leaves a later ProxyCommand its say (OpenSSH 10.3, and Debian's
            # 9.2p1-2+deb12u10; before, it decided too).
            jump = self.values.get("proxyjump", "none").lower()
            if not (keyword == "proxycommand" and jump != "none") and not (
                keyword == "proxyjump" and "proxycommand" in self.values
            ):
                self.values.setdefault(keyword, rest)
            return
        words = split_arguments(rest)
        if keyword in _COLLECTED:
            collected = self.lists.setdefault(keyword, [])
            collected.extend(word for word in words[:1] if word not in collected)
        elif keyword in _FILE_LISTS:
            quoted = [f'"{word}"' if " " in word else word for word in words]
            self.values.setdefault(keyword, " ".join(quoted))
        elif words:
            self.values.setdefault(keyword, " ".join(words))


class SshConfig:
    """The configuration files of one user, read once, evaluated for many hosts.

    Args:
        user_file: The user's file; ``~/.ssh/config`` if not given.
        system_file: The machine's file, or None to leave it out.
        user_dir: Where relative Includes of the user's file start; ``~/.ssh`` if not given.
        run_exec: Run the commands of ``Match exec``; otherwise such blocks never hold.
    """

    def __init__(
        self,
        user_file: Path | None = None,
        *,
        system_file: Path | None = SYSTEM_CONFIG,
        user_dir: Path | None = None,
        run_exec: bool = True,
    ) -> None:
        home = Path.home() / ".ssh"
        self._files = [(user_file or home / "config", user_dir or home)]
        if system_file:
            self._files.append((system_file, system_file.parent))
        self._run_exec = run_exec
        self._cache: dict[Path, list[Line]] = {}

    def lookup(self, names: Sequence[str], *, preset: Options | None = None, user: str) -> Options:
        """Return the options for a host.

        Args:
            names: The name to look up, as after ``ssh``; further names (its address) that a
                ``Host`` pattern may match as well.
            preset: Options that are decided already, as by ssh's command line.
            user: Login name on this machine.

        Raises:
            UsageError: A file cannot be parsed, or Includes nest too deep.
        """
        options = preset or Options()
        facts = Facts(names=tuple(names), local_user=user, run_exec=self._run_exec)
        self._pass(options, facts)
        if facts.wants_final:
            facts.final = True
            # ssh.c: the name is decided when the second pass begins, which looks it up.
            host = options.values.get("hostname", names[0]).replace("%h", names[0])
            options.values["hostname"] = host
            facts.names = (host, *names[1:])
            self._pass(options, facts)
        return options

    def host_patterns(self) -> Iterator[tuple[Line, list[str]]]:
        """Yield each Host line with its patterns, Includes followed wherever they stand.

        Raises:
            UsageError: As `lookup`.
        """
        for line in self.lines():
            if line.keyword == "host":
                yield line, _arguments(line)

    def lines(self) -> Iterator[Line]:
        """Yield every directive, Includes followed wherever they stand.

        Raises:
            UsageError: As `lookup`.
        """
        for path, base in self._files:
            yield from self._walk(path, base)

    def _pass(self, options: Options, facts: Facts) -> None:
        for path, base in self._files:
            self._evaluate(path, base, options, facts, active=True, depth=0)

    def _evaluate(
        self, path: Path, base: Path, options: Options, facts: Facts, *, active: bool, depth: int
    ) -> None:
        # An Include in a block that does not hold is read (for errors), but nothing in it holds.
        never = not active
        for line in self._read(path):
            try:
                if line.keyword == "host":
                    active = not never and match_host(split_arguments(line.rest), facts.names)
                elif line.keyword == "match":
                    active = match_block(line.rest, facts, options.values, held=not never)
                elif line.keyword == "include":
                    for included in self._included(line, base, depth):
                        self._evaluate(
                            included, base, options, facts, active=active, depth=depth + 1
                        )
                elif active:
                    options.put(line.keyword, line.rest)
            except MatchError as error:
                raise _bad_line(line, str(error)) from None

    def _walk(self, path: Path, base: Path, depth: int = 0) -> Iterator[Line]:
        for line in self._read(path):
            yield line
            if line.keyword == "include":
                for included in self._included(line, base, depth):
                    yield from self._walk(included, base, depth + 1)

    def _included(self, line: Line, base: Path, depth: int) -> list[Path]:
        if depth >= MAX_INCLUDE_DEPTH:
            raise _bad_line(line, f"Includes nest deeper than {MAX_INCLUDE_DEPTH}")
        found: list[Path] = []
        for word in _arguments(line):
            # An absolute word stays as it is; "~" is a home folder; a missing file is no error.
            pattern = os.path.join(base, os.path.expanduser(word))  # noqa: PTH111, PTH118 - a glob
            found.extend(Path(name) for name in sorted(glob.glob(pattern)))  # noqa: PTH207
        return found

    def _read(self, path: Path) -> list[Line]:
        if path not in self._cache:
            self._cache[path] = list(_parse(path))
        return self._cache[path]


def _parse(path: Path) -> Iterator[Line]:
    try:
        if not path.is_file():
            return
        if path.stat().st_size > MAX_SIZE:
            raise UsageError(
                f"larger than {MAX_SIZE} bytes", thing=str(path), action="is it an ssh_config?"
            )
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror}", thing=str(path), action="correct its permissions"
        ) from None
    for number, row in enumerate(text.split("\n"), 1):
        stripped = row.strip(" \t\r\f")
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if not match:
            raise _bad_line(Line(path, number, "", ""), "this is not 'Keyword value'")
        yield Line(path, number, match.group(1).lower(), match.group(2))


def _arguments(line: Line) -> list[str]:
    try:
        return split_arguments(line.rest)
    except MatchError as error:
        raise _bad_line(line, str(error)) from None


def _bad_line(line: Line, cause: str) -> UsageError:
    return UsageError(
        cause, thing=f"{line.path}:{line.number}", action="correct it; 'ssh -G HOST' checks it"
    )
