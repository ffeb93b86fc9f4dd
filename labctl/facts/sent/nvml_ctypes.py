"""NVML where nvidia-ml-py is not installed: its library through ctypes, under the names of pynvml.

Only what `labctl.facts.gpu.nvml_reader` asks for. Source: NVIDIA NVML API reference, nvml.h (order
of the fields of structures, versions of functions and structures).
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char, c_int, c_int64, c_uint, c_ulonglong
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "libnvidia-ml.so.1"
_LIBRARY_NOT_FOUND, _INSUFFICIENT_SIZE, _FUNCTION_NOT_FOUND = 12, 7, 13
_NOT_AVAILABLE = 0xFFFFFFFFFFFFFFFF


class NVMLError(Exception):
    """A call failed; ``value`` is its nvmlReturn_t."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


def _structure(name: str, **fields: Any) -> Any:  # noqa: ANN401
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


class _Value(ctypes.Union):
    _fields_ = [("uiVal", c_uint), ("ullVal", c_ulonglong)]


_Pci = _structure(
    "_Pci", busIdLegacy=c_char * 16, domain=c_uint, bus=c_uint, device=c_uint, pciDeviceId=c_uint,
    pciSubSystemId=c_uint, busId=c_char * 32,
)  # fmt: skip
_Memory = _structure("_Memory", total=c_ulonglong, free=c_ulonglong, used=c_ulonglong)
_Memory2 = _structure(
    "_Memory2", version=c_uint, total=c_ulonglong, reserved=c_ulonglong, free=c_ulonglong,
    used=c_ulonglong,
)  # fmt: skip
_Bar1 = _structure("_Bar1", bar1Total=c_ulonglong, bar1Free=c_ulonglong, bar1Used=c_ulonglong)
_Utilisation = _structure("_Utilisation", gpu=c_uint, memory=c_uint)
_Margin = _structure("_Margin", version=c_uint, marginTemperature=c_int)
_Field = _structure(
    "_Field", fieldId=c_uint, scopeId=c_uint, timestamp=c_int64, latencyUsec=c_int64,
    valueType=c_uint, nvmlReturn=c_uint, value=_Value,
)  # fmt: skip
_Process = _structure(
    "_Process", pid=c_uint, usedGpuMemory=c_ulonglong, gpuInstanceId=c_uint,
    computeInstanceId=c_uint,
)  # fmt: skip
c_nvmlGpuFabricInfoV_t = _structure(  # noqa: N816 - the name that pynvml gives it
    "c_nvmlGpuFabricInfoV_t", version=c_uint, clusterUuid=ctypes.c_uint8 * 16, status=c_uint,
    cliqueId=c_uint, state=c_uint, healthMask=c_uint,
)  # fmt: skip


def _version(structure: Any, number: int) -> int:  # noqa: ANN401
    """Return NVML_STRUCT_VERSION: the size, and the number in the highest byte."""
    return ctypes.sizeof(structure) | number << 24


# What a function gives out beside its return code, where it is not one unsigned number: text of a
# size, several numbers, a long number, a structure.
_TEXT = {"nvmlSystemGetDriverVersion": 80, "nvmlSystemGetProcessName": 1024,
         "nvmlDeviceGetName": 96, "nvmlDeviceGetUUID": 96, "nvmlDeviceGetSerial": 30,
         "nvmlDeviceGetVbiosVersion": 32}  # fmt: skip
_SEVERAL = {"nvmlDeviceGetEncoderUtilization": 2, "nvmlDeviceGetDecoderUtilization": 2,
            "nvmlDeviceGetPowerManagementLimitConstraints": 2, "nvmlDeviceGetEccMode": 2,
            "nvmlDeviceGetRemappedRows": 4, "nvmlDeviceGetMigMode": 2}  # fmt: skip
_LONG = {
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetNvLinkErrorCounter",
}
_STRUCTURES = {"nvmlDeviceGetPciInfo": _Pci, "nvmlDeviceGetBAR1MemoryInfo": _Bar1,
               "nvmlDeviceGetUtilizationRates": _Utilisation}  # fmt: skip
_HANDLES = {"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMigDeviceHandleByIndex"}
_LISTS = {"nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses",
          "nvmlDeviceGetMPSComputeRunningProcesses"}  # fmt: skip
# Functions of which the library has newer forms, which are asked for by their names.
_NEWEST = {"nvmlInit": "_v2", "nvmlDeviceGetCount": "_v2", "nvmlDeviceGetHandleByIndex": "_v2",
           "nvmlDeviceGetPciInfo": "_v3", "nvmlSystemGetCudaDriverVersion": "_v2"}  # fmt: skip


class Bindings:
    """The library, with functions as pynvml has them."""

    NVMLError = NVMLError
    nvmlMemory_v2 = _version(_Memory2, 2)  # noqa: N815
    nvmlGpuFabricInfo_v2 = _version(c_nvmlGpuFabricInfoV_t, 2)  # noqa: N815
    c_nvmlGpuFabricInfoV_t = c_nvmlGpuFabricInfoV_t  # noqa: N815

    def __init__(self, path: str = LIBRARY) -> None:
        self._path = path
        self._library: Any = None
        self._made: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def nvmlInit(self) -> None:  # noqa: N802
        """Load the library and initialise it.

        Raises:
            NVMLError: It is not there, or refuses.
        """
        try:
            self._library = ctypes.CDLL(self._path)
        except OSError:
            raise NVMLError(_LIBRARY_NOT_FOUND) from None
        _check(self._function("nvmlInit")())

    def nvmlDeviceGetMemoryInfo(self, card: Any, version: int = 0) -> Any:  # noqa: ANN401, N802
        """Return the memory, in the newer form where its ``version`` is given."""
        if not version:
            return self._filled("nvmlDeviceGetMemoryInfo", _Memory(), card)
        return self._filled("nvmlDeviceGetMemoryInfo_v2", _Memory2(version=version), card)

    def nvmlDeviceGetMarginTemperature(self, card: Any) -> int:  # noqa: ANN401, N802
        """Return the degrees that are left before the card slows down."""
        found = self._filled(
            "nvmlDeviceGetMarginTemperature", _Margin(version=_version(_Margin, 1)), card
        )
        return int(found.marginTemperature)

    def nvmlDeviceGetFieldValues(self, card: Any, ids: list[int]) -> Any:  # noqa: ANN401, N802
        """Return the values of the fields of these ``ids``."""
        values = (_Field * len(ids))()
        for at, number in enumerate(ids):
            values[at].fieldId = number
        _check(self._function("nvmlDeviceGetFieldValues")(card, c_int(len(ids)), byref(values)))
        return values

    def nvmlDeviceGetRetiredPages(self, card: Any, cause: int) -> list[int]:  # noqa: ANN401, N802
        """Return the addresses of the pages that were retired for this cause."""
        return self._listed("nvmlDeviceGetRetiredPages", c_ulonglong, card, c_uint(cause))

    def nvmlDeviceGetGpuFabricInfoV(self, card: Any, info: Any) -> None:  # noqa: ANN401, N802
        """Fill in ``info``, which is a reference to a structure."""
        _check(self._function("nvmlDeviceGetGpuFabricInfoV")(card, info))

    def _function(self, name: str) -> Any:  # noqa: ANN401
        """Return a function of the library; AttributeError where it has none of that name."""
        newest = name + _NEWEST.get(name, "")
        return getattr(self._library, newest if hasattr(self._library, newest) else name)

    def _filled(self, name: str, structure: Any, *arguments: Any) -> Any:  # noqa: ANN401
        _check(self._function(name)(*map(_argument, arguments), byref(structure)))
        return structure

    def _listed(self, name: str, kind: Any, *arguments: Any) -> list[Any]:  # noqa: ANN401
        function = self._function(name)
        count = c_uint(0)
        code = function(*arguments, byref(count), None)
        if code not in (0, _INSUFFICIENT_SIZE):
            raise NVMLError(code)
        count = c_uint(count.value * 2 + 5)  # more may come between the two calls
        found = (kind * count.value)()
        _check(function(*arguments, byref(count), found))
        return list(found[: count.value])

    def _processes(self, name: str, card: Any) -> list[Any]:  # noqa: ANN401
        for form in ("_v3", "_v2"):
            if hasattr(self._library, name + form):
                return [_Listed(one) for one in self._listed(name + form, _Process, card)]
        raise NVMLError(_FUNCTION_NOT_FOUND)

    def _make(self, name: str) -> Callable[..., Any]:
        if name in _LISTS:
            return lambda card: self._processes(name, card)
        if name in _STRUCTURES:
            return lambda *given: self._filled(name, _STRUCTURES[name](), *given)
        function = self._function(name)
        if name in _TEXT:
            return lambda *given: _text(function, _TEXT[name], given)
        if name in _SEVERAL:
            return lambda *given: _numbers(function, _SEVERAL[name], given)
        kind = c_ulonglong if name in _LONG else ctypes.c_void_p if name in _HANDLES else c_uint
        return lambda *given: _one(function, kind, given)


class _Listed:
    """A process as pynvml gives it: memory that is not known is None."""

    def __init__(self, one: Any) -> None:  # noqa: ANN401
        self.pid = one.pid
        hidden = one.usedGpuMemory == _NOT_AVAILABLE
        self.usedGpuMemory = None if hidden else one.usedGpuMemory
        self.gpuInstanceId, self.computeInstanceId = one.gpuInstanceId, one.computeInstanceId


def _check(code: int) -> None:
    if code:
        raise NVMLError(code)


def _argument(value: Any) -> Any:  # noqa: ANN401
    return c_uint(value) if isinstance(value, int) else value


def _text(function: Any, size: int, given: Any) -> str:  # noqa: ANN401
    buffer = ctypes.create_string_buffer(size)
    _check(function(*map(_argument, given), buffer, c_uint(size)))
    return buffer.value.decode(errors="replace")


def _numbers(function: Any, count: int, given: Any) -> list[int]:  # noqa: ANN401
    values = [c_uint() for _ in range(count)]
    _check(function(*map(_argument, given), *map(byref, values)))
    return [value.value for value in values]


def _one(function: Any, kind: Any, given: Any) -> Any:  # noqa: ANN401
    value = kind()
    _check(function(*map(_argument, given), byref(value)))
    # A handle is a pointer: as a plain number it would be cut to 32 bits on its way back.
    return value if kind is ctypes.c_void_p else value.value
