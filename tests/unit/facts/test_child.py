"""Programs that are read from until a deadline."""

import os
import time
from pathlib import Path

import pytest

from labctl.facts.gpu.child import output_of
from labctl.facts.sent.child import drain


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("old", [False, True])
def test_what_a_program_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, old: bool
) -> None:
    if old:
        monkeypatch.delattr(os, "posix_spawnp")
    before = descriptors()
    many = "head -c 300000 /dev/zero | tr '\\0' x; echo error >&2; cat\n"
    # Its input is empty, and its errors are not what it prints.
    assert output_of([script(tmp_path, many)], seconds=60) == "x" * 300000
    assert output_of([script(tmp_path, "printf 'a\\377b'")], seconds=60) == "a\ufffdb"
    assert descriptors() == before


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    before = descriptors()
    assert output_of([str(tmp_path / "none")], seconds=60) is None
    assert descriptors() == before


def test_a_program_that_does_not_come_back_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = script(tmp_path, f"echo $$ >{pid}; trap '' TERM; while :; do sleep 60; done\n")
    assert output_of([program], seconds=0.5) is None
    if pid.exists():  # it may not even have begun
        number = int(pid.read_text() or 0)
        with pytest.raises(ProcessLookupError):
            os.kill(number or 2**22, 0)


def test_what_came_before_the_end_is_kept() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"half")
    assert drain(reading, time.monotonic() + 0.05) == (b"half", False)
    os.close(writing)
    assert drain(reading, time.monotonic() + 60) == (b"", True)
    os.close(reading)
