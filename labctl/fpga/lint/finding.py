"""A finding of a linter, and what every linter is to `labctl.fpga.lint.run`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labctl.fpga.model import Core, Variant


@dataclass(frozen=True)
class Finding:
    """Something that a linter complains of.

    Attributes:
        tool: The linter.
        severity: ``error`` (it cannot read this, or it is surely wrong) or ``warning``.
        rule: Its rule.
        message: One line.
        path: File, or None where it does not say.
        line: Line in it, from 1; 0 where it does not say.
    """

    tool: str
    severity: str
    rule: str
    message: str
    path: Path | None = None
    line: int = 0


@dataclass(frozen=True)
class Program:
    """A linter that is installed.

    Attributes:
        path: The program.
        version: What it says of itself, in a few words.
    """

    path: str
    version: str


class Linter(Protocol):
    """A module in `labctl.fpga.lint.linters`."""

    NAME: str
    """Its name in findings and waivers."""
    PROGRAM: str
    """What is started."""
    VERSION: Sequence[str]
    """The arguments by which it says its version."""
    INSTALL: str
    """How to get it, in words."""
    PER_VARIANT: bool
    """Whether the parameters of the top have a part in what it says."""

    def command(self, core: Core, variant: Variant, program: str) -> list[str]:
        """Return the command that looks at ``core``; it runs in the core's folder."""

    def read(self, output: str, core: Core) -> list[Finding]:
        """Return what ``output`` complains of."""


def place_of(name: str, core: Core) -> Path:
    """Return the file that a program that ran in the core's folder calls ``name``."""
    return Path(os.path.normpath(core.path.parent.absolute() / name))
