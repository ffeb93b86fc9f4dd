"""A core on disk, small enough to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MakeCore = Callable[..., Path]
GOOD = "description: A wire\ntop: wire_\nsources: [rtl/wire.v]\n"
TEST = "import cocotb\n\n\n@cocotb.test()\nasync def test_it(dut):\n    pass\n"


@pytest.fixture
def make_core(tmp_path: Path) -> MakeCore:
    """Return what writes a core ``name`` and returns its core.yaml."""

    def make(text: str = GOOD, *, name: str = "wire", test: str = TEST) -> Path:
        folder = tmp_path / name
        (folder / "rtl").mkdir(parents=True)
        (folder / "tb").mkdir()
        (folder / "rtl/wire.v").write_text("module wire_(); endmodule\n")
        (folder / "tb/test_wire.py").write_text(test)
        (folder / "core.yaml").write_text(text)
        return folder / "core.yaml"

    return make
