"""What nobody expected: one line on the terminal, and a defect's traceback in a file."""

from __future__ import annotations

import datetime
import errno
import platform
import sys
import traceback

from labctl import __version__
from labctl.paths import make_private, state_dir

# What the file system says when it is the machine's trouble and not a defect of ours.
_MACHINE_TROUBLE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}


def explain(error: Exception) -> str:
    """Return the line to print for an error that no command foresaw."""
    if isinstance(error, OSError) and error.errno in _MACHINE_TROUBLE:
        where = f"{error.filename}: " if error.filename else ""
        return f"labctl: {where}{error.strerror}"
    return report_crash(error)


def report_crash(error: BaseException) -> str:
    """Write the traceback of ``error`` to the state folder; return the line to print.

    The arguments of the command go into the file, its environment does not.
    """
    head = f"labctl: internal error: {type(error).__name__}: {error}"
    lines = [
        f"labctl {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {sys.argv[1:]}",
        *traceback.format_exception(error),
    ]
    try:
        stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        path = make_private(state_dir() / "crashes") / f"{stamp}.txt"
        # An argument may be a file name that is not UTF-8.
        path.write_text("\n".join(lines), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return head + "\n" + lines[-1]
    return f"{head}; please report it with {path}"
