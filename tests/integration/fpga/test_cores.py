"""Every core of fpga/ compiles without a warning, passes its tests, and closes its coverage.

One regression of a few seeds, the same ones each time; the seeds count up, and testbenches share
their stimulus out among them (`labctl.fpga.tb.by_seed`). cocotb's own runner runs one core too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.fpga.readers.core_file import read_core

FPGA = Path(__file__).parents[3] / "fpga"
CORES = sorted(path.parent for path in FPGA.glob("*/core.yaml"))
FIRST_SEED, SEEDS = 1, 8
DEADLINE_S = 600.0

pytest.importorskip("cocotb_tools.runner")
if not shutil.which("iverilog"):
    pytest.skip("Icarus is not installed: apt-get install iverilog", allow_module_level=True)


def labctl(folder: Path, *words: str) -> dict[str, Any]:
    """Run labctl fpga on all cores; return its document."""
    from labctl.fpga.tb.coverage import FOLDER_VARIABLE

    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
        FOLDER_VARIABLE: "coverage",
    }
    done = subprocess.run(
        [sys.executable, "-m", "labctl", "fpga", *words, "-C", str(FPGA), "--json"],
        env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    seeds = ("--seeds", str(SEEDS), "--seed", str(FIRST_SEED))
    return labctl(tmp_path_factory.mktemp("cores"), "test", *seeds, "--waves", "never", "--keep")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = labctl(tmp_path_factory.mktemp("builds"), "build")["builds"]
    return found


def test_there_are_cores() -> None:
    assert len(CORES) >= 14


@pytest.mark.parametrize("folder", CORES, ids=lambda folder: folder.name)
def test_core_compiles_without_a_warning(folder: Path, builds: list[dict[str, Any]]) -> None:
    own = [one for one in builds if one["core"] == folder.name]
    assert len(own) == len(read_core(folder / "core.yaml").variants)
    assert [one for one in own if one["status"] == "failed" or one["output"]] == []


@pytest.mark.parametrize("folder", CORES, ids=lambda folder: folder.name)
def test_core_passes(folder: Path, regression: dict[str, Any]) -> None:
    core = read_core(folder / "core.yaml")
    own = [one for one in regression["jobs"] if one["core"] == core.name]
    seeded = sum(test.seeded for test in core.tests)
    runs = len(core.variants) * (seeded * SEEDS + len(core.tests) - seeded)
    assert [one for one in own if one["status"] != "passed"] == []
    assert len(own) == runs
    assert seeded


@pytest.mark.parametrize("folder", CORES, ids=lambda folder: folder.name)
def test_seeds_together_close_the_coverage(folder: Path, regression: dict[str, Any]) -> None:
    from labctl.fpga.tb.coverage import merge

    core = read_core(folder / "core.yaml")
    left: dict[str, list[dict[str, dict[str, int]]]] = {}
    for one in regression["jobs"]:
        if one["core"] == core.name:
            for path in Path(one["folder"], "coverage").glob("*.json"):
                left.setdefault(path.stem, []).append(json.loads(path.read_text()))
    # Each set of parameters has a coverage of its own.
    assert len(left) == len(core.variants)
    for name, several in left.items():
        missing = [
            f"{name}: {point}={one}"
            for point, bins in merge(several).items()
            for one, count in bins.items()
            if not count
        ]
        assert missing == []


def test_a_testbench_needs_nothing_but_cocotb_to_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cocotb_tools import runner

    folder = FPGA / "sync_fifo"
    core = yaml.safe_load((folder / "core.yaml").read_text())
    monkeypatch.syspath_prepend(str(folder / "tb"))  # the runner hands sys.path on
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    icarus = runner.get_runner("icarus")
    icarus.build(
        sources=sources(folder, core), hdl_toplevel=core["top"], build_dir=tmp_path / "build",
        build_args=["-g2012", "-Wall"], timescale=("1ns", "1ps"), log_file=tmp_path / "build.log",
    )  # fmt: skip
    results = icarus.test(
        test_module=core["tests"][0], hdl_toplevel=core["top"], build_dir=tmp_path / "build",
        test_dir=tmp_path, results_xml=str(tmp_path / "results.xml"), log_file=tmp_path / "log.txt",
    )  # fmt: skip
    total, failed = runner.get_results(results)
    assert total
    assert not failed, (tmp_path / "log.txt").read_text()[-6000:]


def sources(folder: Path, core: dict[str, Any]) -> list[Path]:
    return [path.resolve() for pattern in core["sources"] for path in sorted(folder.glob(pattern))]


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
