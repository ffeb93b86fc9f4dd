"""AMD's cards: the JSON of ``rocm-smi`` and of its successor ``amd-smi``.

Keys of rocm-smi change between ROCm releases (4.3, 5.7, 6.0 and 6.1 were seen), in case and in
words; a row below has all the names of one quantity, the newest first.
Source: rocm-smi and amd-smi command line documentation at https://rocm.docs.amd.com.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from labctl.facts.gpu.card import GpuFacts, Process, make_card
from labctl.facts.gpu.quantity import first, read
from labctl.facts.value import Fact, Known, Reason, Unknown, absent

NAME = "rocm-smi"

_KEYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "name": ("text", ("Card Series", "Device Name", "Market Name", "Card Model")),
    "uuid": ("text", ("Unique ID",)),
    "serial": ("text", ("Serial Number",)),
    "pci": ("pci", ("PCI Bus",)),
    "vbios": ("text", ("VBIOS version",)),
    "performance_state": ("text", ("Performance Level",)),
    "memory_total": ("bytes", ("VRAM Total Memory (B)",)),
    "memory_used": ("bytes", ("VRAM Total Used Memory (B)",)),
    "utilisation": ("percent", ("GPU use (%)",)),
    "memory_utilisation": ("percent", ("GPU Memory Read/Write Activity (%)", "GPU memory use (%)")),
    "power": (
        "watts",
        (
            "Current Socket Graphics Package Power (W)",
            "Average Graphics Package Power (W)",
            "Average Socket Power (W)",
        ),
    ),
    "power_limit": ("watts", ("Max Graphics Package Power (W)",)),
    "temperature": (
        "celsius",
        ("Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)"),
    ),
    "temperature_memory": ("celsius", ("Temperature (Sensor memory) (C)",)),
    "fan": ("percent", ("Fan speed (%)", "Fan Speed (%)")),
    "clock_sm": ("mhz", ("sclk clock speed:",)),
    "clock_memory": ("mhz", ("mclk clock speed:",)),
    "pcie_replays": ("count", ("PCIe Replay Count",)),
}

# amd-smi: the same by path; each leaf is a value or {"value": ..., "unit": ...}.
_PATHS: dict[str, tuple[str, tuple[str, ...]]] = {
    "index": ("count", ("gpu",)),
    "name": ("text", ("asic/market_name", "board/product_name")),
    "uuid": ("text", ("uuid", "asic/asic_serial")),
    "serial": ("text", ("board/product_serial",)),
    "pci": ("pci", ("bus/bdf", "bdf")),
    "vbios": ("text", ("vbios/version", "ifwi/version")),
    "memory_total": ("bytes", ("mem_usage/total_vram", "vram/size")),
    "memory_used": ("bytes", ("mem_usage/used_vram",)),
    "memory_free": ("bytes", ("mem_usage/free_vram",)),
    "utilisation": ("percent", ("usage/gfx_activity",)),
    "memory_utilisation": ("percent", ("usage/umc_activity",)),
    "power": ("watts", ("power/socket_power", "power/current_socket_power")),
    "power_limit": ("watts", ("limit/socket_power", "limit/max_power")),
    "temperature": ("celsius", ("temperature/hotspot", "temperature/edge")),
    "temperature_memory": ("celsius", ("temperature/mem",)),
    "temperature_slowdown": ("celsius", ("limit/slowdown_hotspot_temperature",)),
    "clock_sm": ("mhz", ("clock/gfx_0/clk", "clock/gfx/clk")),
    "clock_memory": ("mhz", ("clock/mem_0/clk", "clock/mem/clk")),
    "ecc_corrected": ("count", ("ecc/total_correctable_count", "ecc/total_correctable")),
    "ecc_uncorrected": ("count", ("ecc/total_uncorrectable_count", "ecc/total_uncorrectable")),
    "pcie_width": ("count", ("pcie/width",)),
    "pcie_replays": ("count", ("pcie/replay_count",)),
}


def recognises(text: str) -> bool:
    """Tell whether ``text`` is JSON that names AMD's cards."""
    data = _load(text)
    if isinstance(data, Mapping):
        return any(re.fullmatch(r"card\d+", str(key)) for key in data) or "gpu_data" in data
    return isinstance(data, list) and any(
        isinstance(item, Mapping) and "gpu" in item for item in data
    )


def parse(text: str) -> list[GpuFacts]:
    """Return the one reading of the document."""
    data = _load(text)
    amd = _amd_cards(text)
    if amd:
        return [GpuFacts("amd-smi", cards=tuple(make_card(_amd_card(item)) for item in amd))]
    if not isinstance(data, Mapping):
        return [GpuFacts(NAME, failure=Unknown(Reason.UNREADABLE, "it is not JSON"))]
    found = sorted(
        (int(str(key)[4:]), value)
        for key, value in data.items()
        if re.fullmatch(r"card\d+", str(key)) and isinstance(value, Mapping)
    )
    system = data.get("system")
    system = system if isinstance(system, Mapping) else {}
    return [
        GpuFacts(
            NAME,
            driver=first(read(_string(system.get(key)), "text") for key in ("Driver version",)),
            cards=tuple(make_card(_rocm_card(index, value)) for index, value in found),
        )
    ]


def _load(text: str) -> object:
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0 or text[:start].strip().startswith(("<", "=", "|", "+", "#")):
        return None
    try:
        # rocm-smi prints warnings before its JSON and sometimes behind it.
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _amd_cards(text: str) -> list[dict[str, Any]]:
    """Return what amd-smi says of each card, over all its documents (static, metric, process)."""
    found: dict[str, dict[str, Any]] = {}
    rest = text
    while (data := _load(rest)) is not None:
        items = data.get("gpu_data") if isinstance(data, Mapping) else data
        for item in items if isinstance(items, list) else []:
            if isinstance(item, Mapping) and "gpu" in item:
                found.setdefault(str(item["gpu"]), {}).update(item)
        start = min(at for at in (rest.find("{"), rest.find("[")) if at >= 0)
        rest = rest[json.JSONDecoder().raw_decode(rest, start)[1] :]
    return list(found.values())


def _string(value: object) -> str | None:
    return None if value is None or isinstance(value, (Mapping, list)) else str(value)


def _rocm_card(index: int, said: Mapping[str, object]) -> dict[str, Any]:
    lower = {str(key).lower(): _string(value) for key, value in said.items()}
    card: dict[str, Any] = {
        name: first(read(lower.get(key.lower()), kind) for key in keys)
        for name, (kind, keys) in _KEYS.items()
    }
    # Where the name is not known some releases print the vendor's number instead.
    names = [read(lower.get(key.lower()), "text") for key in _KEYS["name"][1]]
    spoken = [fact for fact in names if isinstance(fact, Known) and not fact.value.startswith("0x")]
    number = first((read(lower.get("device id"), "text"), read(lower.get("gpu id"), "text")))
    card["name"] = spoken[0] if spoken else number.map(lambda word: f"AMD device {word}")
    link = re.search(r"GT/s x(\d+)", lower.get("pcie clock level") or "")
    if link:
        card["pcie_width"] = Known(int(link.group(1)))
    return {**card, "index": Known(index), "vendor": Known("AMD")}


def _amd_card(said: Mapping[str, Any]) -> dict[str, Any]:
    card: dict[str, Any] = {
        name: first(_leaf(said, path, kind) for path in paths)
        for name, (kind, paths) in _PATHS.items()
    }
    card["vendor"] = Known("AMD")
    listed = said.get("process_list")
    if isinstance(listed, list):
        card["processes"] = Known(tuple(_amd_processes(listed)))
    return card


def _leaf(said: Mapping[str, Any], path: str, kind: str) -> Fact[Any]:
    here: object = said
    for name in path.split("/"):
        if not isinstance(here, Mapping) or name not in here:
            return absent("not reported")
        here = here[name]
    unit = ""
    if isinstance(here, Mapping):
        unit, here = str(here.get("unit", "")), here.get("value")
    return read(_string(here), kind, unit)


def _amd_processes(listed: list[Any]) -> list[Process]:
    found = []
    for item in listed:
        info = item.get("process_info", item) if isinstance(item, Mapping) else {}
        if not isinstance(info, Mapping):
            continue  # "No running processes detected"
        pid = _leaf(info, "pid", "count")
        if isinstance(pid, Known):
            found.append(
                Process(
                    pid.value,
                    name=_leaf(info, "name", "text"),
                    kind=Known("C"),
                    memory=first(
                        (_leaf(info, "memory_usage/vram_mem", "bytes"), _leaf(info, "mem", "bytes"))
                    ),
                )
            )
    return found
