"""Where each fact about an NVIDIA card stands in what nvidia-smi prints.

One row for each fact: its kind, where it stands in the document (``-q -x`` and ``-q`` alike, see
`smi_tree`: names in lower case, joined by ``/``), and its column in ``--query-gpu``. Names that
NVIDIA changed stand beside each other, the newest first; a row with groups is the sum of the first
group of which anything is known. Unknown names in a document are not looked at.

Source: nvidia-smi(1), ``nvidia-smi --help-query-gpu`` and the DTDs nvsmi_device_v10 to v13.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One fact: the attribute of `Card`, its kind (see `quantity`), and its places."""

    name: str
    kind: str
    tree: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    sums: tuple[tuple[str, ...], ...] = ()
    column_sums: tuple[tuple[str, ...], ...] = ()


def _power(*names: str) -> tuple[str, ...]:
    """Return the places of a power reading: the section's name changed in 535."""
    return tuple(
        f"{section}/{name}"
        for name in names
        for section in ("gpu_power_readings", "power_readings")
    )


def _errors(when: str, good: bool) -> tuple[tuple[str, ...], ...]:
    base = f"ecc_errors/{when}"
    if good:
        return (
            (f"{base}/sram_correctable", f"{base}/dram_correctable"),
            (f"{base}/single_bit/total",),
        )
    return (
        (f"{base}/sram_uncorrectable_parity", f"{base}/sram_uncorrectable_secded",
         f"{base}/sram_uncorrectable_sec_ded", f"{base}/sram_uncorrectable",
         f"{base}/dram_uncorrectable"),
        (f"{base}/double_bit/total",),
    )  # fmt: skip


def _error_columns(when: str, word: str) -> tuple[tuple[str, ...], ...]:
    base = f"ecc.errors.{word}.{when}"
    return ((f"{base}.total",), (f"{base}.sram", f"{base}.dram"))


_LINK = "pci/pci_gpu_link_info"
_TEXT_LINK = "pci/gpu_link_info"

FIELDS: tuple[Field, ...] = (
    Field("name", "text", ("product_name",), ("name", "gpu_name")),
    Field("architecture", "text", ("product_architecture",)),
    Field("uuid", "text", ("uuid", "gpu_uuid"), ("uuid", "gpu_uuid")),
    Field("serial", "text", ("serial", "serial_number"), ("serial", "gpu_serial")),
    Field("pci", "pci", ("pci/pci_bus_id", "pci/bus_id", "id"), ("pci.bus_id", "gpu_bus_id")),
    Field("minor", "count", ("minor_number",)),
    Field("vbios", "text", ("vbios_version",), ("vbios_version",)),
    Field("persistence", "switch", ("persistence_mode",), ("persistence_mode",)),
    Field("display", "switch", ("display_active",), ("display_active",)),
    Field("compute_mode", "text", ("compute_mode",), ("compute_mode",)),
    Field("performance_state", "text", ("performance_state",), ("pstate",)),
    Field(
        "memory_total", "bytes", ("fb_memory_usage/total", "memory_usage/total"), ("memory.total",)
    ),
    Field("memory_reserved", "bytes", ("fb_memory_usage/reserved",), ("memory.reserved",)),
    Field("memory_used", "bytes", ("fb_memory_usage/used", "memory_usage/used"), ("memory.used",)),
    Field("memory_free", "bytes", ("fb_memory_usage/free", "memory_usage/free"), ("memory.free",)),
    Field("bar1_total", "bytes", ("bar1_memory_usage/total",)),
    Field("bar1_used", "bytes", ("bar1_memory_usage/used",)),
    Field(
        "utilisation", "percent", ("utilization/gpu_util", "utilization/gpu"), ("utilization.gpu",)
    ),
    Field(
        "memory_utilisation",
        "percent",
        ("utilization/memory_util", "utilization/memory"),
        ("utilization.memory",),
    ),
    Field(
        "encoder_utilisation",
        "percent",
        ("utilization/encoder_util", "utilization/encoder"),
        ("utilization.encoder",),
    ),
    Field(
        "decoder_utilisation",
        "percent",
        ("utilization/decoder_util", "utilization/decoder"),
        ("utilization.decoder",),
    ),
    Field(
        "power",
        "watts",
        _power(
            "power_draw", "instant_power_draw", "average_power_draw", "instantaneous_power_draw"
        ),
        ("power.draw", "power.draw.instant", "power.draw.average", "gpu.power.draw.instant"),
    ),
    Field(
        "power_limit",
        "watts",
        _power("current_power_limit", "enforced_power_limit", "power_limit"),
        ("enforced.power.limit", "gpu.power.current_limit", "power.limit"),
    ),
    Field(
        "power_limit_default",
        "watts",
        _power("default_power_limit"),
        ("power.default_limit", "gpu.power.default_limit"),
    ),
    Field(
        "power_limit_max",
        "watts",
        _power("max_power_limit"),
        ("power.max_limit", "gpu.power.max_limit"),
    ),
    Field("clock_sm", "mhz", ("clocks/sm_clock", "clocks/sm"), ("clocks.current.sm", "clocks.sm")),
    Field(
        "clock_sm_max",
        "mhz",
        ("max_clocks/sm_clock", "max_clocks/sm"),
        ("clocks.max.sm",),
    ),
    Field(
        "clock_memory",
        "mhz",
        ("clocks/mem_clock", "clocks/memory"),
        ("clocks.current.memory", "clocks.mem"),
    ),
    Field(
        "clock_memory_max",
        "mhz",
        ("max_clocks/mem_clock", "max_clocks/memory"),
        ("clocks.max.memory", "clocks.max.mem"),
    ),
    Field(
        "temperature",
        "celsius",
        ("temperature/gpu_temp", "temperature/gpu_current_temp"),
        ("temperature.gpu",),
    ),
    Field(
        "temperature_memory",
        "celsius",
        ("temperature/memory_temp", "temperature/memory_current_temp"),
        ("temperature.memory",),
    ),
    Field(
        "temperature_slowdown",
        "celsius",
        ("temperature/gpu_temp_slow_threshold", "temperature/gpu_slowdown_temp"),
    ),
    Field(
        "temperature_shutdown",
        "celsius",
        ("temperature/gpu_temp_max_threshold", "temperature/gpu_shutdown_temp"),
    ),
    Field(
        "temperature_margin",
        "celsius",
        ("temperature/gpu_temp_tlimit", "temperature/gpu_t_limit_temp"),
        ("temperature.gpu.tlimit",),
    ),
    Field("fan", "percent", ("fan_speed",), ("fan.speed",)),
    Field("ecc", "switch", ("ecc_mode/current_ecc", "ecc_mode/current"), ("ecc.mode.current",)),
    Field(
        "ecc_corrected",
        "count",
        sums=_errors("volatile", good=True),
        column_sums=_error_columns("volatile", "corrected"),
    ),
    Field(
        "ecc_uncorrected",
        "count",
        sums=_errors("volatile", good=False),
        column_sums=_error_columns("volatile", "uncorrected"),
    ),
    Field(
        "ecc_corrected_ever",
        "count",
        sums=_errors("aggregate", good=True),
        column_sums=_error_columns("aggregate", "corrected"),
    ),
    Field(
        "ecc_uncorrected_ever",
        "count",
        sums=_errors("aggregate", good=False),
        column_sums=_error_columns("aggregate", "uncorrected"),
    ),
    Field(
        "remapped_corrected",
        "count",
        ("remapped_rows/remapped_row_corr", "remapped_rows/correctable_error"),
        ("remapped_rows.correctable", "remapped_rows.sbe"),
    ),
    Field(
        "remapped_uncorrected",
        "count",
        ("remapped_rows/remapped_row_unc", "remapped_rows/uncorrectable_error"),
        ("remapped_rows.uncorrectable", "remapped_rows.dbe"),
    ),
    Field(
        "remap_pending",
        "switch",
        ("remapped_rows/remapped_row_pending", "remapped_rows/pending"),
        ("remapped_rows.pending",),
    ),
    Field(
        "remap_failed",
        "switch",
        ("remapped_rows/remapped_row_failure", "remapped_rows/remapping_failure_occurred"),
        ("remapped_rows.failure",),
    ),
    Field(
        "retired_single",
        "count",
        (
            "retired_pages/multiple_single_bit_retirement/retired_count",
            "retired_pages/single_bit_ecc",
        ),
        ("retired_pages.single_bit_ecc.count", "retired_pages.sbe"),
    ),
    Field(
        "retired_double",
        "count",
        ("retired_pages/double_bit_retirement/retired_count", "retired_pages/double_bit_ecc"),
        ("retired_pages.double_bit.count", "retired_pages.dbe"),
    ),
    Field(
        "retire_pending",
        "switch",
        (
            "retired_pages/pending_retirement",
            "retired_pages/pending_blacklist",
            "retired_pages/pending_page_blacklist",
        ),
        ("retired_pages.pending",),
    ),
    Field(
        "sram_errors_exceeded",
        "switch",
        ("ecc_errors/aggregate/sram_threshold_exceeded",),
        ("ecc.errors.uncorrected.aggregate.sram.thresholdExceeded",),
    ),
    Field("channel_repair_pending", "switch", ("ecc_errors/channel_repair_pending",)),
    Field("tpc_repair_pending", "switch", ("ecc_errors/tpc_repair_pending",)),
    Field("memory_unrepairable", "switch", ("ecc_errors/unrepairable_memory",)),
    Field(
        "pcie_generation",
        "count",
        (f"{_LINK}/pcie_gen/current_link_gen", f"{_TEXT_LINK}/pcie_generation/current"),
        ("pcie.link.gen.current", "pcie.link.gen.gpucurrent"),
    ),
    Field(
        "pcie_generation_max",
        "count",
        (f"{_LINK}/pcie_gen/max_link_gen", f"{_TEXT_LINK}/pcie_generation/max"),
        ("pcie.link.gen.max",),
    ),
    Field(
        "pcie_width",
        "count",
        (f"{_LINK}/link_widths/current_link_width", f"{_TEXT_LINK}/link_width/current"),
        ("pcie.link.width.current",),
    ),
    Field(
        "pcie_width_max",
        "count",
        (f"{_LINK}/link_widths/max_link_width", f"{_TEXT_LINK}/link_width/max"),
        ("pcie.link.width.max",),
    ),
    Field("pcie_replays", "count", ("pci/replay_counter", "pci/replays_since_reset")),
    Field("fabric_state", "text", ("fabric/state",), ("fabric.state",)),
    Field("fabric_status", "text", ("fabric/status",), ("fabric.status",)),
    Field("recovery_action", "text", ("gpu_recovery_action",), ("gpu_recovery_action",)),
    Field(
        "reset_required",
        "switch",
        ("gpu_reset_status/reset_required",),
        ("reset_status.reset_required",),
    ),
    Field("mig", "switch", ("mig_mode/current_mig", "mig_mode/current"), ("mig.mode.current",)),
)

# The same for one MIG device, below it.
SLICE_FIELDS: tuple[Field, ...] = (
    Field("index", "count", ("index",)),
    Field("uuid", "text", ("uuid", "mig_uuid", "gpu_uuid")),
    Field("profile", "text", ("profile", "name")),
    Field("gpu_instance", "count", ("gpu_instance_id",)),
    Field("compute_instance", "count", ("compute_instance_id",)),
    Field("memory_total", "bytes", ("fb_memory_usage/total", "shared_fb_memory_usage/total")),
    Field(
        "memory_reserved", "bytes", ("fb_memory_usage/reserved", "shared_fb_memory_usage/reserved")
    ),
    Field("memory_used", "bytes", ("fb_memory_usage/used", "shared_fb_memory_usage/used")),
    Field("memory_free", "bytes", ("fb_memory_usage/free", "shared_fb_memory_usage/free")),
    Field(
        "ecc_uncorrected",
        "count",
        (
            "ecc_error_count/volatile_count/sram_uncorrectable",
            "ecc_errors/volatile/sram_uncorrectable",
        ),
    ),
)

# Sections that list what holds the clocks down; the name changed in 530.
THROTTLE_SECTIONS = ("clocks_event_reasons", "clocks_throttle_reasons")
# Not reasons to worry: what a card is allowed to do when nothing is asked of it.
THROTTLE_PREFIXES = ("clocks_event_reason_", "clocks_throttle_reason_")
