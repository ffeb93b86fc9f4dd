"""Recordings and scenarios made for the tests: small, made up, in the form of the real ones."""

GIB = 1 << 30


def xml_card(
    *,
    bus: str = "01",
    uuid: str = "GPU-1",
    used: str = "0 MiB",
    util: str = "0 %",
    extra: str = "",
    processes: str = "<processes />",
    mig: str = "<mig_mode><current_mig>Disabled</current_mig></mig_mode>",
) -> str:
    return f"""<gpu id="00000000:{bus}:00.0">
    <product_name>NVIDIA Test 1</product_name><uuid>{uuid}</uuid>{mig}
    <fb_memory_usage><total>81920 MiB</total><reserved>500 MiB</reserved>
    <used>{used}</used><free>80000 MiB</free></fb_memory_usage>
    <compute_mode>Default</compute_mode>
    <utilization><gpu_util>{util}</gpu_util></utilization>
    <temperature><gpu_temp>40 C</gpu_temp></temperature>{extra}
    {processes}</gpu>"""


def xml_process(
    pid: int, name: str = "python", memory: str = "1000 MiB", kind: str = "C", gi: str = "N/A"
) -> str:
    return (
        f"<process_info><gpu_instance_id>{gi}</gpu_instance_id>"
        f"<compute_instance_id>{'0' if gi != 'N/A' else gi}</compute_instance_id>"
        f"<pid>{pid}</pid><type>{kind}</type><process_name>{name}</process_name>"
        f"<used_memory>{memory}</used_memory></process_info>"
    )


def xml_report(*cards: str, attached: int | None = None) -> str:
    return f"""<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v99.dtd">
<nvidia_smi_log>
<timestamp>Fri Apr 10 10:23:01 2026</timestamp><driver_version>999.10</driver_version>
<cuda_version>19.1</cuda_version>
<attached_gpus>{len(cards) if attached is None else attached}</attached_gpus>
{"".join(cards)}</nvidia_smi_log>"""


def card(index: int, *lines: str) -> str:
    return "\n".join(
        [
            "card", "name NVIDIA Test 80GB", f"uuid GPU-{index}",
            f"pci 00000000:{index + 1:02x}:00.0", f"minor {index}", f"memory_total {80 * GIB}",
            "memory_reserved 500000000", "memory_used 0", "utilisation 0", "temperature 40",
            *lines, "",
        ]
    )  # fmt: skip
