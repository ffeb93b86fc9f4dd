"""Printing for people: colours, tables and progress, plain where nobody looks at a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from labctl.report.sanitize import clean

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def wants_colour(stream: TextIO) -> bool:
    """Tell whether ``stream`` gets colours: a terminal, not ``TERM=dumb``, ``NO_COLOR`` unset.

    Source: https://no-color.org (any non-empty value switches colours off).
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def silence(stream: TextIO) -> None:
    """Send what is still written to ``stream`` nowhere, so that Python does not complain again."""
    with contextlib.suppress(OSError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


class Terminal:
    """One output stream, safe to use from several threads.

    Args:
        stream: Where to write; standard output if not given.
        colour: Force colours on or off; decided by `wants_colour` if not given.
    """

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.colour = wants_colour(self.stream) if colour is None else colour
        self._lock = threading.Lock()

    def paint(self, text: str, *styles: str) -> str:
        """Return ``text`` in the named styles (bold, dim, red, green, yellow, cyan)."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Write one line at once, whole; nothing where the reader (head, less) has gone.

        What is being told of goes on all the same, and its exit code stays true.
        """
        with self._lock:
            try:
                self.stream.write(text + "\n")
                self.stream.flush()
            except BrokenPipeError:
                silence(self.stream)

    def table(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        styles: Sequence[str] = (),
    ) -> None:
        """Write ``rows`` in aligned columns below ``header``; cells are cleaned.

        Args:
            header: Names of the columns.
            rows: The cells of each row.
            styles: Style of each row (see `paint`), empty for a plain one; none if not given.
        """
        cells = [[clean(str(cell)).replace("\n", " ") for cell in row] for row in rows]
        widths = [
            max(len(title), *(len(row[i]) for row in cells), 0) if cells else len(title)
            for i, title in enumerate(header)
        ]
        self.line(self.paint(_aligned(header, widths), "bold"))
        for row, style in zip_longest(cells, styles, fillvalue=""):
            text = _aligned(row, widths)
            self.line(self.paint(text, style) if style else text)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
