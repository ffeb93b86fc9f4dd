"""Reads every card through NVML and prints a line of JSON for each.

It stands alone, as it is sent along to hosts (`labctl.facts.sent`): Python, nvidia-ml-py
(``pynvml``) or ctypes, nothing else of labctl. It runs in a child of its own, because a call into a
wedged driver never returns; a line is out before the next card is asked, so that what hangs takes
only itself away. No code judges anything here: a call that fails gives the number of its
nvmlReturn_t.

Lines: ``{"system": FACTS}``, ``{"card": INDEX, "facts": FACTS}``, at the end ``{"end": COUNT}``, or
``{"failed": CODE, "words": TEXT}`` alone. FACTS is name -> ``[0, VALUE]`` or ``[CODE, null]``.

Source: NVIDIA NVML API reference (functions, units: power in milliwatts, sizes in bytes).
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any

_FUNCTION_NOT_FOUND, _UNKNOWN = 13, 999
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
# NVML_FI_DEV_MEMORY_TEMP, _GET_GPU_RECOVERY_ACTION, _NVLINK_SPEED_MBPS_COMMON, _NVLINK_LINK_COUNT
_MEMORY_TEMP, _RECOVERY_ACTION, _LINK_SPEED, _LINK_COUNT = 82, 230, 90, 91
# NVML_NVLINK_MAX_LINKS of today's nvml.h.
_MOST_LINKS = 36
# nvmlNvlinkVersion_t
_LINK_VERSIONS = {1: "1.0", 2: "2.0", 3: "2.2", 4: "3.0", 5: "3.1", 6: "4.0", 7: "5.0", 8: "6.0"}
# nvmlGpuFabricState_t, in the words of nvidia-smi; 0 is "not supported".
_FABRIC_STATES = {1: "Not Started", 2: "In Progress", 3: "Completed"}
_NOT_SUPPORTED = 3


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
            self.facts[name] = [code, None if code else _plain(getattr(found, member))]

    def attempt(self, function: str, *arguments: object) -> tuple[int, Any]:
        """Return 0 and what ``function`` returns, or the code of its failure and None."""
        try:
            value = getattr(self.nvml, function)(*arguments)
        except self.nvml.NVMLError as error:
            return int(error.value), None
        except (AttributeError, TypeError):  # an older pynvml does not know it, or its arguments
            return _FUNCTION_NOT_FOUND, None
        except UnicodeDecodeError:  # a process may be called like that; pynvml insists on UTF-8
            return _UNKNOWN, None
        return 0, _plain(value)


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def read(write: Callable[[str], object]) -> None:
    """Read all cards and ``write`` the lines."""

    def line(**data: object) -> None:
        write(json.dumps(data) + "\n")

    nvml = _bindings()
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


def _bindings() -> Any:  # noqa: ANN401
    try:
        import pynvml  # noqa: PLC0415 - where it is installed
    except ImportError:
        from labctl.facts.sent.nvml_ctypes import Bindings  # noqa: PLC0415

        return Bindings()
    return pynvml


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
    _links(asker, card)
    _fabric(asker, card)
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
    wanted = {
        "temperature_memory": _MEMORY_TEMP,
        "recovery_action": _RECOVERY_ACTION,
        "link speed": _LINK_SPEED,
        "link count": _LINK_COUNT,
    }
    code, found = asker.attempt("nvmlDeviceGetFieldValues", card, list(wanted.values()))
    for at, name in enumerate(wanted):
        own = code or int(found[at].nvmlReturn)
        asker.facts[name] = [own, None if own else int(found[at].value.uiVal)]
    action = asker.facts["recovery_action"]
    if action[0] == 0:
        action[1] = _RECOVERY.get(action[1], f"action {action[1]}")


def _links(asker: _Asker, card: Any) -> None:  # noqa: ANN401
    """Note every NVLink; of one that is down nothing but that."""
    speed, count = asker.facts.pop("link speed"), asker.facts.pop("link count")
    # Old drivers do not tell the number: then the first that is refused ends the list.
    most = _MOST_LINKS if count[0] else min(int(count[1]), _MOST_LINKS)
    found: list[dict[str, list[Any]]] = []
    refused = _NOT_SUPPORTED
    for number in range(most):
        code, state = asker.attempt("nvmlDeviceGetNvLinkState", card, number)
        if code and (count[0] or code == _NOT_SUPPORTED):
            refused = code
            break
        own = _Asker(asker.nvml)
        own.facts["number"] = [0, number]
        own.facts["active"] = [code, None if code else int(state)]
        if state:
            own.ask("version", "nvmlDeviceGetNvLinkVersion", card, number)
            version = own.facts["version"]
            version[1] = _LINK_VERSIONS.get(version[1], version[1] and str(version[1]))
            own.facts["speed"] = list(speed)
            for name, counters in _LINK_COUNTERS.items():
                values = [
                    asker.attempt("nvmlDeviceGetNvLinkErrorCounter", card, number, counter)
                    for counter in counters
                ]
                worst = max(code for code, _ in values)
                own.facts[name] = [worst, None if worst else sum(value for _, value in values)]
        found.append(own.facts)
    asker.facts["links"] = [0, found] if found else [refused, None]


# nvmlNvLinkErrorCounter_t: replay 0, recovery 1, CRC of flow control 2, CRC of data 3.
_LINK_COUNTERS = {"replays": (0,), "recoveries": (1,), "crc": (2, 3)}


def _fabric(asker: _Asker, card: Any) -> None:  # noqa: ANN401
    """Note whether the card has joined the fabric of its NVSwitches."""
    kind = getattr(asker.nvml, "c_nvmlGpuFabricInfoV_t", None)
    version = getattr(asker.nvml, "nvmlGpuFabricInfo_v2", None)
    code, info = _FUNCTION_NOT_FOUND, None
    if kind is not None and version is not None:
        info = kind()
        info.version = version
        code, _ = asker.attempt("nvmlDeviceGetGpuFabricInfoV", card, ctypes.byref(info))
    if not code and info is not None and not info.state:
        code = _NOT_SUPPORTED
    if code or info is None:
        asker.facts["fabric_state"] = asker.facts["fabric_status"] = [code, None]
        return
    asker.facts["fabric_state"] = [0, _FABRIC_STATES.get(info.state, f"state {info.state}")]
    status = "Success" if not info.status else f"NVML error {info.status}"
    asker.facts["fabric_status"] = [0, status] if info.state == 3 else [_NOT_SUPPORTED, None]


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
