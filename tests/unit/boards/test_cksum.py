"""Our cksum against the real one."""

import os
import subprocess

import pytest

from labctl.boards.cksum import cksum


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 65_535, 65_536, 1_000_000])
def test_same_as_cksum(size: int) -> None:
    data = os.urandom(size)
    done = subprocess.run(["cksum"], input=data, capture_output=True, check=True, timeout=60)
    assert done.stdout.split() == [str(cksum(data)).encode(), str(size).encode()]
