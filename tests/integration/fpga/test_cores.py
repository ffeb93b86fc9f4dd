"""Every core of fpga/ compiles without a warning and passes its tests, for each set of parameters.

cocotb's own runner, one simulator for each module of tests; `core.yaml` says what there is.
"""

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FPGA = Path(__file__).parents[3] / "fpga"
CORES = sorted(path.parent for path in FPGA.glob("*/core.yaml"))

runner = pytest.importorskip("cocotb_tools.runner")
if not shutil.which("iverilog"):
    pytest.skip("Icarus is not installed: apt-get install iverilog", allow_module_level=True)


def variants(core: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The named sets of parameters: those of `variants`, or every combination of the lists."""
    fixed = core.get("parameters", {})
    if "variants" in core:
        return {name: fixed | values for name, values in core["variants"].items()}
    lists = [value if isinstance(value, list) else [value] for value in fixed.values()]
    sets = [dict(zip(fixed, values, strict=True)) for values in itertools.product(*lists)]
    return {",".join(f"{k}={v}" for k, v in one.items()) or "default": one for one in sets}


def cases() -> list[Any]:
    found = []
    for folder in CORES:
        core = yaml.safe_load((folder / "core.yaml").read_text())
        for name, values in variants(core).items():
            found.append(pytest.param(folder, core, values, id=f"{folder.name}-{name}"))
    return found


def sources(folder: Path, core: dict[str, Any]) -> list[Path]:
    return [path.resolve() for pattern in core["sources"] for path in sorted(folder.glob(pattern))]


def test_there_are_cores() -> None:
    assert CORES


@pytest.mark.parametrize(("folder", "core", "values"), cases())
def test_core(
    folder: Path,
    core: dict[str, Any],
    values: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(folder / "tb"))  # the runner hands sys.path on
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    icarus = runner.get_runner("icarus")
    icarus.build(
        sources=sources(folder, core),
        hdl_toplevel=core["top"],
        parameters=values,
        build_dir=tmp_path / "build",
        build_args=["-g2012", "-Wall"],
        timescale=("1ns", "1ps"),
        log_file=tmp_path / "build.log",
    )
    warnings = (tmp_path / "build.log").read_text()
    assert not warnings
    for module in core.get("tests") or [path.stem for path in (folder / "tb").glob("test_*.py")]:
        results = icarus.test(
            test_module=module,
            hdl_toplevel=core["top"],
            build_dir=tmp_path / "build",
            test_dir=tmp_path,
            results_xml=str(tmp_path / f"{module}.xml"),
            log_file=tmp_path / f"{module}.log",
        )
        total, failed = runner.get_results(results)
        assert total
        assert not failed, (tmp_path / f"{module}.log").read_text()[-6000:]


@pytest.mark.skipif(not shutil.which("verilator"), reason="apt-get install verilator")
@pytest.mark.parametrize("folder", CORES, ids=lambda folder: folder.name)
def test_verilator_has_no_complaint(folder: Path) -> None:
    core = yaml.safe_load((folder / "core.yaml").read_text())
    args = ["verilator", "--lint-only", "-Wall", "--top-module", core["top"]]
    done = subprocess.run(
        [*args, *map(str, sources(folder, core))],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
