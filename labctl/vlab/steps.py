"""Run the steps of building an image so that nothing of them outlives labctl.

Sources: setpriv(1) (``--pdeathsig``), unshare(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.vlab.programs import tool_environment

Progress = Callable[[str], None]
_DEADLINE_S = 1500.0
LOG = "build.log"


def _guard(command: Sequence[str]) -> list[str]:
    """Wrap ``command`` so that nothing of it outlives labctl, whatever way labctl ends.

    As root it also gets PID and mount namespaces of its own: its processes and mounts end with it.
    """
    guard = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        guard += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*guard, *command]


def run(
    command: Sequence[str],
    progress: Progress,
    work: Path,
    *,
    thing: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    sparse_to: IO[bytes] | None = None,
) -> None:
    """Run a build step, pass its "I: " lines on, keep everything in ``work``/build.log.

    Args:
        command: The program and its arguments.
        progress: Gets the lines by which mmdebstrap says what it does.
        work: Folder of the build.
        thing: What is built, for messages.
        folder: Folder to run in; the present one by default.
        environment: Variables besides those of `tool_environment`.
        stdin: Its standard input; empty by default.
        sparse_to: Where its standard output goes, with holes for zeros; into the log by default.

    Raises:
        LabctlError: It failed or took too long; the message holds its last lines.
    """
    last: deque[str] = deque(maxlen=6)
    process = subprocess.Popen(
        _guard(command),
        cwd=folder,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if sparse_to else subprocess.STDOUT,
        env={
            **tool_environment(),
            "TMPDIR": "/tmp" if os.geteuid() else str(work),  # noqa: S108 - shared with the user namespace
            **(environment or {}),
        },
    )
    timer = threading.Timer(_DEADLINE_S, process.kill)
    timer.start()
    copier = None
    try:
        if sparse_to and process.stdout:
            copier = threading.Thread(target=copy_sparse, args=(process.stdout, sparse_to))
            copier.start()
        messages = process.stderr if sparse_to else process.stdout
        assert messages is not None
        with (work / LOG).open("ab") as log:
            for raw in messages:
                log.write(raw)
                line = clean_line(raw)
                if line.startswith("I: ") and line.endswith("..."):
                    progress(f"  {line.removeprefix('I: ')}")
                elif line:
                    last.append(line)
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timer.cancel()
        if copier:
            copier.join()
    if status != 0:
        errors = [line for line in last if not line.startswith(("W: ", "I: "))] or [str(status)]
        raise LabctlError(
            f"{command[0]} failed: {' / '.join(errors[-3:])}",
            thing=thing,
            action="check the network and the host's apt sources, then run it again",
        )


def copy_sparse(source: IO[bytes], target: IO[bytes], *, block: int = 1 << 16) -> None:
    """Copy bytes, leaving holes where a block is zero."""
    size = 0
    zeros = bytes(block)
    while data := source.read(block):
        if data != zeros[: len(data)]:
            target.seek(size)
            target.write(data)
        size += len(data)
    target.truncate(size)


def remove_tree(folder: Path) -> None:
    """Remove ``folder``, also where it holds files of the user namespace's ids."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0:
        helper = ["mmdebstrap", "--unshare-helper", "rm", "-rf", str(folder)]
        subprocess.run(helper, check=False, timeout=120, capture_output=True)
