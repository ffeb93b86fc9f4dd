"""Builds of the image that are cut short."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from virtual_lab import MakeLab, until

pytestmark = pytest.mark.vm


def commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_a_killed_build_leaves_no_image_no_process_no_mount_and_the_next_clears_it(
    make_lab: MakeLab, tmp_path: Path
) -> None:
    lab = make_lab(cache=tmp_path)
    images = tmp_path / "labctl/images"

    def remains() -> list[Path]:
        return list(images.glob(".building-*/*"))

    first = lab.start("lab", "image", "build")
    # Deep in the work: the essential packages are unpacked into the new root.
    until(lambda: list(images.glob(".building-*/root/usr/bin/dpkg")) or first.poll() is not None)
    assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.wait()
    until(lambda: not [line for line in commands() if str(tmp_path) in line], timeout_s=20)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert lab.json("lab", "image", "list")["images"] == []
    old = {path.parent for path in remains()}
    assert old

    second = lab.start("lab", "image", "build")
    until(lambda: not any(path.exists() for path in old))
    second.send_signal(signal.SIGINT)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 130, output
    assert remains() == []  # an interrupt, unlike a kill, leaves nothing at all
    assert lab.json("lab", "image", "list")["images"] == []
