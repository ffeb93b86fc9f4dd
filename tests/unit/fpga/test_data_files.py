"""Files that a design reads as it runs are found by their names, and come with the build."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.fpga.data_files import copy_into, data_files, link_into
from labctl.fpga.model import Core, Variant


def core(folder: Path, text: str, **more: object) -> Core:
    for name in ("rtl/beside.hex", "own.hex", "p.hex", "named.bin", "inc.vh"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    source = folder / "rtl/a.v"
    source.write_text(text)
    return Core("c", folder / "core.yaml", "", "a", (source,), **more)  # type: ignore[arg-type]


def test_literals_that_are_names_of_files(tmp_path: Path) -> None:
    text = """
`include "inc.vh"
// $readmemh("p.hex", m);
/* "p.hex" */
initial $readmemh("beside.hex", m);
parameter FILE = "own.hex";
initial $display("own.hex is not\\" a file", "rtl", "/", "", "none.hex");
"""
    found = data_files(core(tmp_path, text), Variant())
    assert found == {"beside.hex": tmp_path / "rtl/beside.hex", "own.hex": tmp_path / "own.hex"}


def test_parameters_macros_and_what_the_description_names(tmp_path: Path) -> None:
    one = core(tmp_path, "", data=(tmp_path / "named.bin",), defines={"F": '"own.hex"'})
    found = data_files(one, Variant("", {"FILE": "p.hex", "N": 3}))
    assert sorted(found) == ["named.bin", "own.hex", "p.hex"]


def test_of_a_makefile_only_what_its_folder_has(tmp_path: Path) -> None:
    one = core(tmp_path, '"beside.hex" "own.hex"', beside=tmp_path)
    assert sorted(data_files(one, Variant())) == ["own.hex"]


def test_a_run_has_the_copies(tmp_path: Path) -> None:
    build, working, theirs = tmp_path / "build", tmp_path / "run", tmp_path / "theirs"
    for folder in (build, working, theirs / "sub"):
        folder.mkdir(parents=True)
    (working / "sub").symlink_to(theirs / "sub")
    file = tmp_path / "x.hex"
    file.write_text("1")
    names = ("x.hex", "deep/er.hex", "sub/y.hex", "../out.hex", str(tmp_path / "abs.hex"))
    copy_into(build, dict.fromkeys(names, file))
    file.write_text("2")
    link_into(working, build)
    assert (working / "x.hex").read_text() == (working / "deep/er.hex").read_text() == "1"
    assert list((theirs / "sub").iterdir()) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["build", "run", "theirs", "x.hex"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(alphabet='"/*\\\n ow.hex', max_size=40).map(str.encode))
def test_any_source_is_looked_through(tmp_path: Path, raw: bytes) -> None:
    one = core(tmp_path, "")
    one.sources[0].write_bytes(raw)
    for path in data_files(one, Variant()).values():
        assert path.is_file()
