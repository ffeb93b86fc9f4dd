"""The simulated nvidia-smi: it says what the simulated library says, and that it is simulated."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gpu_reports import GIB, card

from labctl.errors import DependencyError, UsageError
from labctl.facts.gpu.collect import nvidia
from labctl.facts.gpu.smi_failure import broken_cards
from labctl.facts.value import Known, to_json
from labctl.vlab.nvml import on_boxes
from labctl.vlab.nvml.build import SCENARIO_VARIABLE, build_tool

READ = """
import json
from labctl.facts.gpu.nvml import read_local
from labctl.facts.value import Known, to_json
print(json.dumps(to_json(read_local(deadline=60))))
"""
MIB = 1 << 20


@pytest.fixture(scope="session")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build_tool(tmp_path_factory.mktemp("smi"))
    except DependencyError as error:
        pytest.skip(str(error))


def run(
    command: list[str], scenario: Path, library: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, SCENARIO_VARIABLE: str(scenario)}
    if library is not None:
        environment["LD_LIBRARY_PATH"] = str(library.parent)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def both(tool: Path, library: Path, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the facts by the tool and by the library."""
    done = run([str(tool), "-q", "-x"], file)
    assert done.returncode == 0, done.stderr
    by_tool: Any = to_json(nvidia(done.stdout, done.returncode))
    by_library = json.loads(run([sys.executable, "-c", READ], file, library).stdout)
    return by_tool, by_library


def test_the_same_facts_as_through_the_library(tool: Path, library: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario"
    reserved = f"memory_reserved {500 * MIB}"
    scenario.write_text(
        "driver 999.10.01\ncuda 13010\n" + card(
            0, "serial 123", "vbios 1.2", "architecture 9", "persistence 1", "display_active 0",
            "compute_mode 3", "performance_state 2", f"bar1_total {GIB}", f"bar1_used {MIB}",
            "memory_utilisation 7", "encoder_utilisation 8", "decoder_utilisation 9",
            "power 250500", "power_limit 700000", "power_limit_default 690000",
            "power_limit_max 710000", "clock_sm 1980", "clock_sm_max 2000", "clock_memory 2619",
            "clock_memory_max 2620", "clock_reasons 0x44", "temperature_memory 50",
            "temperature_slowdown 90", "temperature_shutdown 95", "temperature_margin 46",
            "fan 30", "ecc 1", "ecc_corrected 1", "ecc_uncorrected 2", "ecc_corrected_ever 3",
            "ecc_uncorrected_ever 4", "remapped_rows 5 6 1 0", "retired_single 2",
            "retired_double 0", "retire_pending 0", "pcie_generation 5", "pcie_generation_max 5",
            "pcie_width 16", "pcie_width_max 16", "pcie_replays 9", "recovery_action 4",
            "mig_mode 0", f"process {os.getpid()} C {7 * MIB}", f"process {os.getpid()} G -",
            f"memory_used {7 * MIB}", reserved,
        ) + card(1, reserved) + card(2, reserved, "return nvmlDeviceGetComputeRunningProcesses 4")
    )  # fmt: skip
    by_tool, by_library = both(tool, library, scenario)
    assert by_tool["driver"] == by_library["driver"]
    assert by_tool["runtime"] == by_library["runtime"]
    assert len(by_tool["cards"]) == len(by_library["cards"]) == 3
    for one, other in zip(by_tool["cards"], by_library["cards"], strict=True):
        for name, fact in other.items():
            if fact and "value" in fact and name not in ("throttle", "processes"):
                assert one[name] == fact, name
            elif fact:
                assert ("value" in one[name]) == ("value" in fact), name
    first = by_tool["cards"][0]
    assert first["name"]["value"].endswith("(simulated)")
    assert sorted(first["throttle"]["value"]) == ["hw_thermal_slowdown", "sw_power_cap"]
    (process,) = first["processes"]["value"]
    assert (process["pid"], process["kind"]) == (os.getpid(), {"value": "C+G"})
    assert by_tool["cards"][2]["processes"]["unknown"] == "no_permission"


def test_mig_devices(tool: Path, library: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario"
    scenario.write_text(
        card(0, "mig_mode 1", f"mig MIG-a 2 0 {20 * GIB} {100 * MIB}",
             f"mig MIG-b 3 1 {10 * GIB} 0", f"process 1 C {MIB} 3 1")
    )  # fmt: skip
    by_tool, by_library = both(tool, library, scenario)
    slices = [one["cards"][0]["slices"]["value"] for one in (by_tool, by_library)]
    for name in ("index", "uuid", "gpu_instance", "compute_instance", "memory_total",
                 "memory_used"):  # fmt: skip
        assert [one[name] for one in slices[0]] == [one[name] for one in slices[1]], name
    (process,) = by_tool["cards"][0]["processes"]["value"]
    assert (process["gpu_instance"], process["compute_instance"]) == ({"value": 3}, {"value": 1})


@pytest.mark.parametrize("code", [9, 18, 999])
def test_a_driver_that_fails_says_so_in_the_tools_words(
    tool: Path, tmp_path: Path, code: int
) -> None:
    scenario = tmp_path / "scenario"
    scenario.write_text(f"return nvmlInit {code}\n" + card(0))
    done = run([str(tool), "-q", "-x"], scenario)
    assert done.returncode == code & 0xFF
    facts = nvidia(done.stdout, done.returncode)
    assert facts.failure is not None
    assert facts.cards == ()


def test_a_lost_card_is_named_and_hides_no_other(tool: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario"
    scenario.write_text("".join(card(at, "lost" if at == 1 else "") for at in range(3)))
    done = run([str(tool), "-q", "-x"], scenario)
    assert done.returncode == 15
    (broken,) = broken_cards(done.stdout)
    facts = nvidia(done.stdout, 15)
    assert sum(one.error is None for one in facts.cards) == 2
    assert broken.pci in [one.pci for one in facts.cards if one.error is not None]


def test_a_process_by_its_name_comes_and_goes(tool: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario"
    name = f"labctl-{os.getpid()}"[:15]
    scenario.write_text(card(0, f"process @{name} C {MIB}", f"?{name} utilisation 42"))

    def pids() -> list[int]:
        (one,) = nvidia(run([str(tool), "-q", "-x"], scenario).stdout, 0).cards
        listed = to_json(one.processes)["value"]  # type: ignore[call-overload, index]
        assert one.utilisation == Known(42.0 if listed else 0.0)
        return [process["pid"] for process in listed]

    assert pids() == []
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    # Its name is that of the file that was started (execve(2)).
    with subprocess.Popen([str(program), "600"]) as process:
        try:
            assert pids() == [process.pid]
        finally:
            process.kill()
    assert pids() == []


def test_it_says_what_it_is_and_what_it_knows(tool: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario"
    scenario.write_text(card(0))
    assert "simulated" in run([str(tool), "--version"], scenario).stdout
    listed = run([str(tool), "-L"], scenario).stdout
    assert listed == "GPU 0: NVIDIA Test 80GB (simulated) (UUID: GPU-0)\n"
    done = run([str(tool)], scenario)
    assert (done.returncode, done.stdout) == (2, "")
    assert "simulated" in done.stderr


def test_what_a_box_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert {"shared", "faults"} <= set(on_boxes.shipped())
    for name in on_boxes.shipped():
        scenario = on_boxes.find_scenario(name, tmp_path)
        found = on_boxes.files(scenario)
        assert found["etc/labctl/nvml.scenario"] == (scenario.read_bytes(), 0o644)
        assert found["usr/local/bin/nvidia-smi"][0][:4] == b"\x7fELF"
        assert found["usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"][1] == 0o755
        facts = nvidia(run([str(tool), "-q", "-x"], scenario).stdout, 0)
        assert len(facts.cards) == 3
        assert "exist" in scenario.read_text().split("driver")[0]
    with pytest.raises(UsageError, match="faults, shared"):
        on_boxes.find_scenario("nonsense", tmp_path)
    own = tmp_path / "own"
    own.write_text("card\n")
    assert on_boxes.find_scenario("own", tmp_path) == own
