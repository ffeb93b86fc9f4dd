"""A stand-in for nvidia-smi that asks the simulated NVML: ``-q -x``, ``nvlink -s``, ``nvlink -e``.

It renders by the recordings of the real one and shares nothing with labctl, so that both ways to
the cards of one box can be held against each other.
"""

import sys
from html import escape
from typing import Any

import pynvml as n


def ask(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except n.NVMLError as error:
        return {3: "N/A", 4: "Insufficient Permissions", 15: "GPU is lost"}.get(
            error.value, "Unknown Error"
        )


def unit(value: Any, word: str, scale: int = 1) -> str:
    return value if isinstance(value, str) else f"{value // scale} {word}"


def switch(value: Any) -> str:
    return value if isinstance(value, str) else "Enabled" if value else "Disabled"


def tag(name: str, *inner: str) -> str:
    return f"<{name}>{''.join(inner)}</{name}>"


def report(card: Any) -> str:
    memory = ask(n.nvmlDeviceGetMemoryInfo, card, n.nvmlMemory_v2)
    load = ask(n.nvmlDeviceGetUtilizationRates, card)
    power = ask(n.nvmlDeviceGetPowerUsage, card)
    ecc = ask(n.nvmlDeviceGetEccMode, card)
    heat = ask(n.nvmlDeviceGetTemperature, card, 0)

    def size(name: str) -> str:
        return unit(memory if isinstance(memory, str) else getattr(memory, name), "MiB", 1 << 20)

    def percent(name: str) -> str:
        return unit(load if isinstance(load, str) else getattr(load, name), "%")

    listed = ask(n.nvmlDeviceGetComputeRunningProcesses, card)
    processes = [
        tag(
            "process_info",
            tag("pid", str(one.pid)),
            tag("type", "C"),
            tag("process_name", escape(str(ask(n.nvmlSystemGetProcessName, one.pid)))),
            tag("used_memory", unit(one.usedGpuMemory, "MiB", 1 << 20)),
        )
        for one in (listed if isinstance(listed, list) else [])
    ]
    return (
        f'<gpu id="{n.nvmlDeviceGetPciInfo(card).busId}">'
        + tag("product_name", str(ask(n.nvmlDeviceGetName, card)))
        + tag("uuid", str(ask(n.nvmlDeviceGetUUID, card)))
        + tag("serial", str(ask(n.nvmlDeviceGetSerial, card)))
        + tag("persistence_mode", switch(ask(n.nvmlDeviceGetPersistenceMode, card)))
        + tag("mig_mode", tag("current_mig", "N/A"))
        + tag("fan_speed", unit(ask(n.nvmlDeviceGetFanSpeed, card), "%"))
        + tag(
            "fb_memory_usage",
            *(tag(name, size(name)) for name in ("total", "reserved", "used", "free")),
        )
        + tag(
            "utilization",
            tag("gpu_util", percent("gpu")),
            tag("memory_util", percent("memory")),
        )
        + tag("temperature", tag("gpu_temp", unit(heat, "C")))
        + tag(
            "gpu_power_readings",
            tag("power_draw", power if isinstance(power, str) else f"{power / 1000:.2f} W"),
        )
        + tag("ecc_mode", tag("current_ecc", switch(ecc if isinstance(ecc, str) else ecc[0])))
        + tag("pci", tag("replay_counter", str(ask(n.nvmlDeviceGetPcieReplayCounter, card))))
        + tag("processes", *processes)
        + "</gpu>"
    )


def links(card: Any, *, errors: bool) -> str:
    lines = []
    for number in range(n.NVML_NVLINK_MAX_LINKS):
        state = ask(n.nvmlDeviceGetNvLinkState, card, number)
        if isinstance(state, str):
            break
        if errors and state:
            counts = [ask(n.nvmlDeviceGetNvLinkErrorCounter, card, number, at) for at in range(4)]
            lines += [
                f"\t Link {number}: Replay Errors: {counts[0]}",
                f"\t Link {number}: Recovery Errors: {counts[1]}",
                f"\t Link {number}: CRC Errors: {counts[2] + counts[3]}",
            ]
        elif not errors:
            speed = n.nvmlDeviceGetFieldValues(card, [90])[0].value.uiVal / 1000
            lines.append(f"\t Link {number}: {f'{speed:.3f} GB/s' if state else '<inactive>'}")
    return "\n".join(lines) or "Device does not have or support Nvlink"


def main() -> int:
    try:
        n.nvmlInit()
    except n.NVMLError as error:
        print(f"Failed to initialize NVML: {error}")
        return int(error.value)
    cards = [n.nvmlDeviceGetHandleByIndex(at) for at in range(n.nvmlDeviceGetCount())]
    if sys.argv[1] == "nvlink":
        for at, card in enumerate(cards):
            print(f"GPU {at}: {n.nvmlDeviceGetName(card)} (UUID: {n.nvmlDeviceGetUUID(card)})")
            print(links(card, errors="-e" in sys.argv))
        return 0
    print('<?xml version="1.0" ?>')
    body = "".join(map(report, cards))
    driver = tag("driver_version", n.nvmlSystemGetDriverVersion())
    print(tag("nvidia_smi_log", driver, tag("attached_gpus", str(len(cards))), body))
    return 0


if __name__ == "__main__":
    sys.exit(main())
