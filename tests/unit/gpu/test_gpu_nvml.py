"""NVML through the simulated library: built here, loaded by the real bindings and tools."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpu_reports import GIB, card

from labctl.vlab.nvml.build import SCENARIO_VARIABLE

Run = Callable[..., str]


@pytest.fixture
def run(library: Path, tmp_path: Path) -> Run:
    """Return a function that runs a program which finds the library and a scenario."""

    def function(scenario: str, *command: str, check: bool = True) -> str:
        file = tmp_path / "scenario"
        file.write_text(scenario)
        done = subprocess.run(
            command,
            env={
                **os.environ,
                "HOME": str(tmp_path),
                "LD_LIBRARY_PATH": str(library.parent),
                SCENARIO_VARIABLE: str(file),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return function


READ = """
import json, sys
if "--ctypes" in sys.argv:
    sys.modules["pynvml"] = None
from labctl.facts.gpu.nvml import read_local
from labctl.facts.value import to_json
print(json.dumps(to_json(read_local(deadline=float(sys.argv[1])))))
"""


def facts(run: Run, scenario: str, *words: str, deadline: float = 60) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        run(scenario, sys.executable, "-c", READ, str(deadline), *words)
    )
    return found


def test_every_fact_comes_through_in_its_unit(run: Run) -> None:
    scenario = "driver 999.10.01\ncuda 13010\n" + card(
        0, "serial 123", "vbios 1.2", "architecture 9", "persistence 1", "display_active 0",
        "compute_mode 3", "performance_state 2", "bar1_total 1000", "bar1_used 10",
        "memory_utilisation 7", "encoder_utilisation 8", "decoder_utilisation 9", "power 250500",
        "power_limit 700000", "power_limit_default 690000", "power_limit_max 710000",
        "clock_sm 1980", "clock_sm_max 2000", "clock_memory 2619", "clock_memory_max 2620",
        "clock_reasons 0x44", "temperature_memory 50", "temperature_slowdown 90",
        "temperature_shutdown 95", "temperature_margin 46", "fan 30", "ecc 1", "ecc_corrected 1",
        "ecc_uncorrected 2", "ecc_corrected_ever 3", "ecc_uncorrected_ever 4",
        "remapped_rows 5 6 1 0", "retired_single 2", "retired_double 0", "retire_pending 0",
        "pcie_generation 5", "pcie_generation_max 5", "pcie_width 16", "pcie_width_max 16",
        "pcie_replays 9", "recovery_action 4", "process 1 C 1000", "process 1 G -",
        "link_speed 26562", "link 1 6 2 1 30 4", "link 0", "fabric 3 0",
    )  # fmt: skip
    found = facts(run, scenario)
    assert facts(run, scenario, "--ctypes") == found
    assert (found["driver"], found["runtime"]) == ({"value": "999.10.01"}, {"value": "13.1"})
    (one,) = found["cards"]
    unknown = {name for name, fact in one.items() if fact and "unknown" in fact}
    # What the library cannot say of such a card.
    assert unknown == {
        "mig", "slices", "reset_required", "sram_errors_exceeded", "channel_repair_pending",
        "tpc_repair_pending", "memory_unrepairable",
    }  # fmt: skip
    values = {name: fact["value"] for name, fact in one.items() if fact and "value" in fact}
    assert values["name"] == "NVIDIA Test 80GB (simulated)"
    assert (values["power"], values["power_limit"]) == (250.5, 700.0)
    assert values["pci"] == "0000:01:00.0"
    assert values["throttle"] == ["sw_power_cap", "hw_thermal_slowdown"]
    assert (values["compute_mode"], values["performance_state"]) == ("Exclusive_Process", "P2")
    assert (values["persistence"], values["display"], values["ecc"]) == (True, False, True)
    assert (values["remap_pending"], values["remap_failed"]) == (True, False)
    assert values["recovery_action"] == "Drain and Reset"
    assert [values[f"ecc_{name}"] for name in ("corrected", "uncorrected_ever")] == [1, 4]
    assert values["architecture"] == "Hopper"
    assert (values["fabric_state"], values["fabric_status"]) == ("Completed", "Success")
    up, down = values["links"]
    assert up == {
        "number": 0, "active": {"value": True}, "version": {"value": "4.0"},
        "speed": {"value": 26.562}, "replays": {"value": 2}, "recoveries": {"value": 1},
        "crc": {"value": 34},
    }  # fmt: skip
    assert (down["number"], down["active"]) == (1, {"value": False})
    assert "unknown" in down["crc"]
    assert (values["links_active"], values["links_down"], values["link_crc"]) == (1, 1, 34)
    (process,) = values["processes"]
    assert (process["pid"], process["kind"]) == (1, {"value": "C+G"})
    assert process["memory"] == {"value": 1000}


def test_what_a_card_does_not_know_is_not_zero(run: Run) -> None:
    (one,) = facts(run, card(0))["cards"]
    assert one["fan"]["unknown"] == "not_supported"
    assert one["power"]["unknown"] == "not_supported"
    assert one["error"] is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [(9, "absent"), (12, "absent"), (15, "lost"), (18, "unreadable"), (999, "unreadable"),
     (4, "no_permission"), (10, "timed_out")],
)  # fmt: skip
def test_codes_of_the_library_as_a_whole(run: Run, code: int, reason: str) -> None:
    found = facts(run, f"return nvmlInit {code}\n" + card(0))
    assert found["cards"] == []
    assert found["failure"]["unknown"] == reason
    assert found["failure"]["words"]


def test_without_a_driver(library: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, "60"],
        env={**os.environ, "LD_LIBRARY_PATH": str(library.parent),
             SCENARIO_VARIABLE: str(tmp_path / "none")},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["failure"]["unknown"] == "absent"


def test_one_lost_card_of_eight(run: Run) -> None:
    found = facts(run, "".join(card(at, "lost" if at == 3 else "") for at in range(8)))
    errors = [one["error"] for one in found["cards"]]
    assert [error is not None for error in errors] == [at == 3 for at in range(8)]
    assert errors[3]["unknown"] == "lost"


def test_a_call_that_never_returns_keeps_what_came_before(run: Run) -> None:
    found = facts(
        run,
        card(0) + card(1, "hang nvmlDeviceGetPowerUsage") + card(2),
        deadline=3,
    )
    assert [one["error"] for one in found["cards"][:1]] == [None]
    assert found["cards"][1]["error"]["unknown"] == "timed_out"
    assert len(found["cards"]) == 2
    assert "card 1" in found["notes"][0]


def test_init_that_never_returns(run: Run) -> None:
    found = facts(run, "hang nvmlInit\n" + card(0), deadline=2)
    assert found["failure"]["unknown"] == "timed_out"


def test_no_permission_for_the_processes_is_said(run: Run) -> None:
    (one,) = facts(run, card(0, "return nvmlDeviceGetComputeRunningProcesses 4"))["cards"]
    assert one["processes"]["unknown"] == "no_permission"


def test_mig_devices_and_their_processes(run: Run) -> None:
    scenario = card(
        0, "mig_mode 1", f"mig MIG-a 2 0 {20 * GIB} 100", f"mig MIG-b 3 1 {10 * GIB} 200",
        "process 1 C 1000 3 1",
    )  # fmt: skip
    (one,) = facts(run, scenario)["cards"]
    assert facts(run, scenario, "--ctypes")["cards"] == [one]
    slices = one["slices"]["value"]
    assert [part["uuid"]["value"] for part in slices] == ["MIG-a", "MIG-b"]
    assert slices[1]["memory_total"] == {"value": 10 * GIB}
    (process,) = one["processes"]["value"]
    assert (process["gpu_instance"], process["compute_instance"]) == ({"value": 3}, {"value": 1})


def test_the_scenario_changes_with_time_and_with_its_file(run: Run, tmp_path: Path) -> None:
    program = """
import pathlib, sys, time, pynvml as n
n.nvmlInit()
card = n.nvmlDeviceGetHandleByIndex(0)
load = lambda: n.nvmlDeviceGetUtilizationRates(card).gpu
first = load()
end = time.monotonic() + 60
while load() == first and time.monotonic() < end:
    time.sleep(0.05)
second = load()
file = pathlib.Path(sys.argv[1])
file.write_text(file.read_text() + "utilisation 77\\n")
print(first, second, load())
"""
    said = run(card(0, "@1 utilisation 42"), sys.executable, "-c", program,
               str(tmp_path / "scenario"))  # fmt: skip
    assert said.split() == ["0", "42", "77"]


SHOWN = "driver 999.1\ncuda 13000\n" + card(0, f"process {os.getpid()} C {GIB}", "utilisation 55")


def test_gpustat_runs_on_it(run: Run) -> None:
    said = run(SHOWN + card(1), sys.executable, "-m", "gpustat", "--json")
    first, second = json.loads(said)["gpus"]
    assert first["name"] == "NVIDIA Test 80GB (simulated)"
    assert first["utilization.gpu"] == 55
    assert [process["pid"] for process in first["processes"]] == [os.getpid()]
    assert second["processes"] == []


def test_nvitop_runs_on_it(run: Run) -> None:
    said = run(SHOWN + card(1), sys.executable, "-m", "nvitop", "--once")
    assert "999.1" in said
    assert "(simulated)" in said
    assert str(os.getpid()) in said


def test_labctl_gpu_shows_this_machine_through_it(run: Run) -> None:
    said = run(
        SHOWN + card(1) + card(2, f"memory_used {9 * GIB}") + card(3, "lost"),
        sys.executable, "-m", "labctl", "gpu", "local", "--json",
    )  # fmt: skip
    (host,) = json.loads(said)["hosts"]
    assert host["source"] == "NVML"
    assert [unit["state"] for unit in host["units"]] == ["busy", "free", "ghost", "sick"]
    assert host["people"][0]["pid"] == os.getpid()
    assert host["people"][0]["started"]["value"] >= 0
