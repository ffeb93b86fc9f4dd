"""Lines and branches from the file that a program of Verilator leaves."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labctl.fpga.coverage.verilated import of_run, reached
from labctl.fpga.model import Core

CORE = Core("fifo", Path("/p/fifo/core.yaml"), "", "fifo", ())


def point(count: int, **told: str) -> str:
    pairs = "".join(f"\x01{key}\x02{value}" for key, value in told.items())
    return f"C '{pairs}' {count}"


# As Verilator 5.048 writes it.
TEXT = "\n".join([
    "# SystemC::Coverage-3",
    point(19, f="/p/fifo/rtl/f.v", l="44", n="5", page="v_line/f", o="block", S="44"),
    point(0, f="/p/fifo/rtl/f.v", l="45", n="9", page="v_branch/f", o="if", S="45-46"),
    point(7, f="/p/fifo/rtl/f.v", l="45", n="10", page="v_branch/f", o="else"),
    point(3, f="/p/common/c.v", l="52", n="9", page="v_branch/c", o="if", S="52,54-55"),
    point(2, f="/p/common/c.v", l="52", n="9", page="v_branch/c", o="if", S="52,54-55", h="top.u"),
    point(9, f="/p/fifo/rtl/f.v", l="4", n="9", page="v_toggle/f", o="q[0]"),
])  # fmt: skip


def test_lines_and_branches_by_file() -> None:
    found = {
        (one.kind, one.scope): {p: bool(one.mask >> at & 1) for at, p in enumerate(one.points)}
        for one in reached(TEXT.splitlines(), CORE)
    }
    assert found == {
        ("line", "fifo/rtl/f.v"): {"44": True, "45": False, "46": False},
        ("branch", "fifo/rtl/f.v"): {"45:9 if": False, "45:10 else": True},
        ("line", "fifo/../common/c.v"): {"52": True, "54": True, "55": True},
        ("branch", "fifo/../common/c.v"): {"52:9 if": True},
    }


def test_no_file_is_no_coverage(tmp_path: Path) -> None:
    assert of_run(tmp_path / "coverage.dat", CORE) == []


@given(st.lists(st.text(alphabet="C '\x01\x02flpageSv_line/123,-", max_size=40), max_size=5))
def test_any_text_is_read(lines: list[str]) -> None:
    reached(lines, CORE)


def test_a_block_that_is_absurd_does_not_fill_the_memory() -> None:
    line = point(1, f="a.v", page="v_line/a", S="1-99999999999")
    assert len(reached([line], CORE)[0].points) <= 10_001
