"""Reads every card through NVML and prints a line of JSON for each.

It stands alone: Python and nvidia-ml-py (``pynvml``), nothing of labctl. It runs in a child of its
own (`nvml`), because a call into a wedged driver never returns; a line is out before the next card
is asked, so that what hangs takes only itself away. No code judges anything here: a call that fails
gives the number of its nvmlReturn_t.

Lines: ``{"system": FACTS}``, ``{"card": INDEX, "facts": FACTS}``, at the end ``{"end": COUNT}``, or
``{"failed": CODE, "words": TEXT}`` alone. FACTS is name -> ``[0, VALUE]`` or ``[CODE, null]``.

Source: NVIDIA NVML API reference (functions, units: power in milliwatts, sizes in bytes).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

_FUNCTION_NOT_FOUND = 13
_NO_INSTANCE = 0xFFFFFFFF

# Bits of nvmlDeviceGetCurrentClocksEventReasons, in the words of nvidia-smi.
_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
}
_COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
# NVML_GPU_RECOVERY_ACTION_*, in the words of nvidia-smi.
_RECOVERY = {0: "None", 1: "Reset", 2: "Reboot", 3: "Drain P2P", 4: "Drain and Reset",
             5: "Recover IMEX Domain", 6: "Bus Reset", 7: "System Reboot"}  # fmt: skip
_ARCHITECTURES = {2: "Kepler", 3: "Maxwell", 4: "Pascal", 5: "Volta", 6: "Turing", 7: "Ampere",
                  8: "Ada Lovelace", 9: "Hopper", 10: "Blackwell"}  # fmt: skip
_MEMORY_TEMP, _RECOVERY_ACTION = 82, 230  # NVML_FI_DEV_*


class _Asker:
    """Asks by name of the function, and notes what came or why not."""

    def __init__(self, nvml: Any) -> None:  # noqa: ANN401
        self.nvml = nvml
        self.facts: dict[str, list[Any]] = {}

    def ask(self, name: str, function: str, *arguments: object) -> None:
        """Note under ``name`` what ``function`` returns."""
        self.facts[name] = list(self.attempt(function, *arguments))

    def several(self, names: str, function: str, *arguments: object) -> None:
        """Note the values that ``function`` returns, one by one, under the ``names``."""
        code, values = self.attempt(function, *arguments)
        for at, name in enumerate(names.split()):
            self.facts[name] = [code, None if code else values[at]]

    def members(self, names: dict[str, str], function: str, *arguments: object) -> None:
        """Note members of the structure that ``function`` returns: name -> member."""
        code, found = self.attempt(function, *arguments)
        for name, member in names.items():
            self.facts[name] = [code, None if code else getattr(found, member)]

    def attempt(self, function: str, *arguments: object) -> tuple[int, Any]:
        """Return 0 and what ``function`` returns, or the code of its failure and None."""
        try:
            value = getattr(self.nvml, function)(*arguments)
        except self.nvml.NVMLError as error:
            return int(error.value), None
        except (AttributeError, TypeError):  # an older pynvml does not know it, or its arguments
            return _FUNCTION_NOT_FOUND, None
        return 0, value.decode(errors="replace") if isinstance(value, bytes) else value


def read(write: Callable[[str], object]) -> None:
    """Read all cards and ``write`` the lines."""

    def line(**data: object) -> None:
        write(json.dumps(data) + "\n")

    try:
        import pynvml as nvml  # noqa: PLC0415 - what cannot be imported is an answer
    except ImportError:
        line(failed=12, words="nvidia-ml-py is not installed")
        return
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        line(failed=int(error.value), words=str(error))
        return
    system = _Asker(nvml)
    system.ask("driver", "nvmlSystemGetDriverVersion")
    system.ask("cuda", "nvmlSystemGetCudaDriverVersion")
    line(system=system.facts)
    for index in range(count):
        line(card=index, facts=_card(nvml, index))
    line(end=count)


def _card(nvml: Any, index: int) -> dict[str, list[Any]]:  # noqa: ANN401
    asker = _Asker(nvml)
    code, card = asker.attempt("nvmlDeviceGetHandleByIndex", index)
    if code:
        return {"handle": [code, None]}
    for name, (function, *arguments) in _SINGLE.items():
        asker.ask(name, function, card, *arguments)
    for names, function in _SEVERAL.items():
        asker.several(names, function, card)
    for function, members in _MEMBERS.items():
        asker.members(members, function, card)
    _memory(asker, card)
    for name, cause in (("retired_single", 0), ("retired_double", 1)):
        code, pages = asker.attempt("nvmlDeviceGetRetiredPages", card, cause)
        asker.facts[name] = [code, None if code else len(pages)]
    _fields(asker, card)
    _reasons(asker, card)
    if asker.facts["mig"][1]:
        asker.facts["slices"] = [0, _slices(asker, card)]
    _processes(asker, card)
    for name, words in (("compute_mode", _COMPUTE_MODES), ("architecture", _ARCHITECTURES)):
        code, value = asker.facts[name]
        asker.facts[name] = [code, None if code else words.get(value, str(value))]
    return asker.facts


# NVML_TEMPERATURE_GPU 0; thresholds 0 shutdown, 1 slowdown; NVML_CLOCK_SM 1, NVML_CLOCK_MEM 2; ECC
# errors 0 corrected, 1 not; counters 0 since start, 1 ever.
_SINGLE: dict[str, tuple[Any, ...]] = {
    "name": ("nvmlDeviceGetName",),
    "uuid": ("nvmlDeviceGetUUID",),
    "serial": ("nvmlDeviceGetSerial",),
    "minor": ("nvmlDeviceGetMinorNumber",),
    "vbios": ("nvmlDeviceGetVbiosVersion",),
    "architecture": ("nvmlDeviceGetArchitecture",),
    "persistence": ("nvmlDeviceGetPersistenceMode",),
    "display": ("nvmlDeviceGetDisplayActive",),
    "compute_mode": ("nvmlDeviceGetComputeMode",),
    "performance_state": ("nvmlDeviceGetPerformanceState",),
    "power": ("nvmlDeviceGetPowerUsage",),
    "power_limit": ("nvmlDeviceGetEnforcedPowerLimit",),
    "power_limit_default": ("nvmlDeviceGetPowerManagementDefaultLimit",),
    "fan": ("nvmlDeviceGetFanSpeed",),
    "temperature_margin": ("nvmlDeviceGetMarginTemperature",),
    "retire_pending": ("nvmlDeviceGetRetiredPagesPendingStatus",),
    "pcie_generation": ("nvmlDeviceGetCurrPcieLinkGeneration",),
    "pcie_generation_max": ("nvmlDeviceGetMaxPcieLinkGeneration",),
    "pcie_width": ("nvmlDeviceGetCurrPcieLinkWidth",),
    "pcie_width_max": ("nvmlDeviceGetMaxPcieLinkWidth",),
    "pcie_replays": ("nvmlDeviceGetPcieReplayCounter",),
    "temperature": ("nvmlDeviceGetTemperature", 0),
    "temperature_shutdown": ("nvmlDeviceGetTemperatureThreshold", 0),
    "temperature_slowdown": ("nvmlDeviceGetTemperatureThreshold", 1),
    "clock_sm": ("nvmlDeviceGetClockInfo", 1),
    "clock_memory": ("nvmlDeviceGetClockInfo", 2),
    "clock_sm_max": ("nvmlDeviceGetMaxClockInfo", 1),
    "clock_memory_max": ("nvmlDeviceGetMaxClockInfo", 2),
    "ecc_corrected": ("nvmlDeviceGetTotalEccErrors", 0, 0),
    "ecc_uncorrected": ("nvmlDeviceGetTotalEccErrors", 1, 0),
    "ecc_corrected_ever": ("nvmlDeviceGetTotalEccErrors", 0, 1),
    "ecc_uncorrected_ever": ("nvmlDeviceGetTotalEccErrors", 1, 1),
}
_SEVERAL = {
    "encoder_utilisation": "nvmlDeviceGetEncoderUtilization",
    "decoder_utilisation": "nvmlDeviceGetDecoderUtilization",
    "power_limit_min power_limit_max": "nvmlDeviceGetPowerManagementLimitConstraints",
    "ecc": "nvmlDeviceGetEccMode",
    "remapped_corrected remapped_uncorrected remap_pending remap_failed": (
        "nvmlDeviceGetRemappedRows"
    ),
    "mig": "nvmlDeviceGetMigMode",
}
_MEMBERS = {
    "nvmlDeviceGetPciInfo": {"pci": "busId"},
    "nvmlDeviceGetBAR1MemoryInfo": {"bar1_total": "bar1Total", "bar1_used": "bar1Used"},
    "nvmlDeviceGetUtilizationRates": {"utilisation": "gpu", "memory_utilisation": "memory"},
}


def _memory(asker: _Asker, card: Any) -> None:  # noqa: ANN401
    """Note the memory; drivers before 510 do not tell what is reserved, and count it as used."""
    names = {f"memory_{name}": name for name in ("total", "used", "free")}
    second = getattr(asker.nvml, "nvmlMemory_v2", None)
    if second is not None:
        asker.members(
            {**names, "memory_reserved": "reserved"}, "nvmlDeviceGetMemoryInfo", card, second
        )
    if second is None or asker.facts["memory_total"][0] == _FUNCTION_NOT_FOUND:
        asker.facts.pop("memory_reserved", None)
        asker.members(names, "nvmlDeviceGetMemoryInfo", card)


def _reasons(asker: _Asker, card: Any) -> None:  # noqa: ANN401
    code, bits = asker.attempt("nvmlDeviceGetCurrentClocksEventReasons", card)
    if code == _FUNCTION_NOT_FOUND:  # its name before 530
        code, bits = asker.attempt("nvmlDeviceGetCurrentClocksThrottleReasons", card)
    names = None if code else [name for bit, name in _REASONS.items() if bits & bit]
    asker.facts["throttle"] = [code, names]


def _fields(asker: _Asker, card: Any) -> None:  # noqa: ANN401
    wanted = {"temperature_memory": _MEMORY_TEMP, "recovery_action": _RECOVERY_ACTION}
    code, found = asker.attempt("nvmlDeviceGetFieldValues", card, list(wanted.values()))
    for at, name in enumerate(wanted):
        own = code or int(found[at].nvmlReturn)
        asker.facts[name] = [own, None if own else int(found[at].value.uiVal)]
    action = asker.facts["recovery_action"]
    if action[0] == 0:
        action[1] = _RECOVERY.get(action[1], f"action {action[1]}")


def _slices(asker: _Asker, card: Any) -> list[dict[str, list[Any]]]:  # noqa: ANN401
    _, places = asker.attempt("nvmlDeviceGetMaxMigDeviceCount", card)
    found = []
    for index in range(places or 0):
        code, part = asker.attempt("nvmlDeviceGetMigDeviceHandleByIndex", card, index)
        if code:
            continue  # not every place has a device
        own = _Asker(asker.nvml)
        own.facts["index"] = [0, index]
        own.ask("uuid", "nvmlDeviceGetUUID", part)
        own.ask("profile", "nvmlDeviceGetName", part)
        profile = own.facts["profile"]
        # "NVIDIA A100 MIG 1g.5gb"
        profile[1] = profile[1] and (profile[1].partition(" MIG ")[2] or profile[1])
        own.ask("gpu_instance", "nvmlDeviceGetGpuInstanceId", part)
        own.ask("compute_instance", "nvmlDeviceGetComputeInstanceId", part)
        _memory(own, part)
        found.append(own.facts)
    return found


def _processes(asker: _Asker, card: Any) -> None:  # noqa: ANN401
    """Note the processes of all kinds; where one list cannot be had, that is what is noted."""
    found: dict[int, dict[str, Any]] = {}
    worst = 0
    for kind, function in (
        ("C", "nvmlDeviceGetComputeRunningProcesses"),
        ("G", "nvmlDeviceGetGraphicsRunningProcesses"),
        ("C", "nvmlDeviceGetMPSComputeRunningProcesses"),
    ):
        code, listed = asker.attempt(function, card)
        # The list of what computes must be there; a card need not draw, nor know MPS.
        if code and function == "nvmlDeviceGetComputeRunningProcesses":
            worst = code
        for one in listed or []:
            entry = found.setdefault(
                int(one.pid),
                {
                    "pid": int(one.pid),
                    "kind": kind,
                    "memory": one.usedGpuMemory,
                    "gpu_instance": _instance(getattr(one, "gpuInstanceId", None)),
                    "compute_instance": _instance(getattr(one, "computeInstanceId", None)),
                },
            )
            if kind not in entry["kind"]:
                entry["kind"] = "C+G"
    for pid, entry in found.items():
        entry["name"] = asker.attempt("nvmlSystemGetProcessName", pid)[1]
    asker.facts["processes"] = [worst, None if worst else list(found.values())]


def _instance(number: int | None) -> int | None:
    return None if number is None or number == _NO_INSTANCE else int(number)


if __name__ == "__main__":

    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    read(_write)
