"""Recordings of every kind: the real ones, made-up ones, and broken ones."""

import re
from pathlib import Path

import pytest
from gpu_reports import xml_card, xml_process, xml_report
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.facts.gpu import (
    cnmon,
    exporter,
    kernel_log,
    quantity,
    rocm,
    slurm_reply,
    smi_csv,
    smi_failure,
    smi_nvlink,
    smi_text,
    smi_xml,
    tegrastats,
)
from labctl.facts.gpu.card import Card
from labctl.facts.gpu.recording import decode, read_recording
from labctl.facts.value import Known, Reason, Unknown
from labctl.gpu.replay import replay

MIB = 1 << 20
SOURCES = (
    exporter, smi_xml, smi_text, cnmon, tegrastats, smi_failure, kernel_log, slurm_reply, rocm,
    smi_csv,
)  # fmt: skip


def one_card(text: str) -> Card:
    found = read_recording(text)
    assert found is not None
    (reading,) = found
    (card,) = reading.cards
    return card


def reason(fact: object) -> Reason:
    assert isinstance(fact, Unknown), fact
    return fact.reason


# --- the real ones -------------------------------------------------------------------------------

OF_CARDS = ("dmesg", "nvidia-smi-captures", "nvidia-smi-q", "nvidia-smi-xml", "rocm-smi")


def test_every_real_recording_of_cards_is_read(samples: Path) -> None:
    files = [file for folder in OF_CARDS for file in sorted((samples / folder).iterdir())]
    files += sorted((samples / "snippets").glob("*.txt"))
    assert len(files) > 15
    for file in files:
        readings = replay([str(file)])
        assert readings, file
        for reading in readings:
            assert reading.facts is not None
            assert reading.facts.cards or reading.facts.failure is not None, file


def test_text_and_csv_of_one_moment_agree(samples: Path) -> None:
    """Two programs, one truth: what moves between two calls is left out."""
    moving = {"utilisation", "memory_utilisation", "power", "temperature", "temperature_memory",
              "clock_sm", "clock_memory", "temperature_margin", "memory_used", "memory_free",
              "throttle", "encoder_utilisation", "decoder_utilisation", "performance_state",
              "fan", "index", "processes", "slices", "error"}  # fmt: skip
    compared = 0
    for file in (samples / "nvidia-smi-captures").iterdir():
        parts = list(exporter.sections(file.read_text()))
        for phase in ("idle", "load"):
            mine = [part for part in parts if part.phase == phase]
            text = next(part.text for part in mine if part.command.endswith("nvidia-smi -q"))
            csv = next(part.text for part in mine if "--query-gpu" in part.command)
            one, other = smi_text.parse(text)[0].cards[0], smi_csv.parse(csv)[0].cards[0]
            for name in vars(one).keys() - moving:
                left, right = getattr(one, name), getattr(other, name)
                if isinstance(left, Known) and isinstance(right, Known):
                    assert left == right, (file.name, phase, name)
                    compared += 1
    assert compared > 150


def test_the_mig_capture_has_slices_with_uuid_and_processes(samples: Path) -> None:
    (file,) = (samples / "nvidia-smi-captures").glob("*h200-mig*")
    idle, load = read_recording(file.read_text()) or []
    assert (idle.label, load.label) == ("idle", "load")
    slices = load.cards[0].slices
    assert isinstance(slices, Known)
    assert [part.profile for part in slices.value] == [
        Known("1c.3g.71gb"), Known("2c.3g.71gb"), Known("2g.35gb"), Known("1g.18gb"),
        Known("1g.18gb"),
    ]  # fmt: skip
    assert all(isinstance(part.uuid, Known) for part in slices.value)
    processes = load.cards[0].processes
    assert isinstance(processes, Known)
    assert {(one.gpu_instance, one.compute_instance) for one in processes.value} == {
        (Known(2), Known(1))
    }


def test_a_real_report_cut_anywhere_is_no_error(samples: Path) -> None:
    text = (samples / "nvidia-smi-xml" / "tesla-t4.xml").read_text()
    for end in range(0, len(text), 997):
        for reading in smi_xml.parse(text[:end]):
            for card in reading.cards:
                if isinstance(card.processes, Known):
                    assert "</processes>" in text[:end] or reading.notes == ()


def test_links_of_real_captures(samples: Path) -> None:
    """Up, none up, none there, not to be asked: four machines, four answers."""
    said = {}
    for file in (samples / "nvidia-smi-captures").iterdir():
        card = (read_recording(file.read_text()) or [])[0].cards[0]
        said[str(getattr(card.name, "value", ""))] = card
    h100, super2080 = said["NVIDIA H100 80GB HBM3"], said["NVIDIA GeForce RTX 2080 SUPER"]
    assert (h100.links_active, h100.links_down) == (Known(18), Known(0))
    assert isinstance(h100.links, Known)
    assert {link.speed for link in h100.links.value} == {Known(26.562)}
    assert reason(h100.link_crc) is Reason.ABSENT  # only their state was recorded
    assert super2080.links_active == Known(0)
    assert reason(super2080.links) is Reason.ABSENT
    assert reason(said["NVIDIA L40S"].links) is Reason.NOT_SUPPORTED
    assert reason(said["NVIDIA H200"].links) is Reason.NOT_SUPPORTED


# --- the forms -----------------------------------------------------------------------------------


def test_unknown_fields_and_a_new_version_change_nothing() -> None:
    plain = one_card(xml_report(xml_card(used="10 MiB")))
    future = one_card(
        xml_report(
            xml_card(used="10 MiB", extra="<quantum_flux><level>7 Q</level></quantum_flux>")
        ).replace("v99", "v47")
    )
    assert future == plain
    assert plain.memory_used == Known(10 * MIB)


def test_a_field_that_is_not_there_is_absent_not_zero() -> None:
    card = one_card(xml_report(xml_card()))
    assert reason(card.power) is Reason.ABSENT
    assert reason(card.ecc_uncorrected) is Reason.ABSENT


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("N/A", Reason.NOT_SUPPORTED),
        ("[Not Supported]", Reason.NOT_SUPPORTED),
        ("Requested functionality has been deprecated", Reason.NOT_SUPPORTED),
        ("[Insufficient Permissions]", Reason.NO_PERMISSION),
        ("GPU is lost", Reason.LOST),
        ("[GPU requires reset]", Reason.LOST),
        ("Unknown Error", Reason.UNREADABLE),
        ("ERR!", Reason.UNREADABLE),
        ("einundvierzig", Reason.UNREADABLE),
        ("41 furlongs", Reason.UNREADABLE),
        ("", Reason.ABSENT),
    ],
)
def test_why_there_is_no_value(said: str, why: Reason) -> None:
    assert reason(quantity.read(said, "bytes")) is why


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("143771 MiB", "bytes", 143771 * MIB),
        ("12868124672", "bytes", 12868124672),
        ("139.62 W", "watts", 139.62),
        ("(1402Mhz)", "mhz", 1402.0),
        ("-8 C", "celsius", -8.0),
        ("16x", "count", 16),
        ("0x1F", "count", 31),
        ("Not Active", "switch", False),
        ("00000000:0C:00.0", "pci", "0000:0c:00.0"),
        ("PCI Express  Card", "text", "PCI Express Card"),
    ],
)
def test_quantities(text: str, kind: str, value: object) -> None:
    assert quantity.read(text, kind) == Known(value)


def test_old_and_new_names_give_the_same_card() -> None:
    old = xml_card(
        extra="<power_readings><power_draw>50.00 W</power_draw><power_limit>70.00 W</power_limit>"
        "</power_readings><clocks_throttle_reasons><clocks_throttle_reason_hw_slowdown>Active"
        "</clocks_throttle_reason_hw_slowdown></clocks_throttle_reasons>"
        "<ecc_errors><volatile><double_bit><total>3</total></double_bit></volatile></ecc_errors>"
    )
    new = xml_card(
        extra="<gpu_power_readings><instant_power_draw>50.00 W</instant_power_draw>"
        "<current_power_limit>70.00 W</current_power_limit></gpu_power_readings>"
        "<clocks_event_reasons><clocks_event_reason_hw_slowdown>Active"
        "</clocks_event_reason_hw_slowdown></clocks_event_reasons><ecc_errors><volatile>"
        "<sram_uncorrectable_parity>1</sram_uncorrectable_parity>"
        "<sram_uncorrectable_secded>0</sram_uncorrectable_secded>"
        "<dram_uncorrectable>2</dram_uncorrectable></volatile></ecc_errors>"
    )
    one, other = one_card(xml_report(old)), one_card(xml_report(new))
    assert one == other
    assert (one.power, one.power_limit) == (Known(50.0), Known(70.0))
    assert one.throttle == Known(("hw_slowdown",))
    assert one.ecc_uncorrected == Known(3)


@pytest.mark.parametrize(
    "name",
    ["a & b", "x <y>", "\x1b[31mred", "line\nbreak", "&lt;b&gt;", "naïve ✓", "\x00\x07", "a,b,c"],
)
def test_hostile_process_names_in_xml(name: str) -> None:
    report = xml_report(xml_card(processes=f"<processes>{xml_process(7, name)}</processes>"))
    processes = one_card(report).processes
    assert isinstance(processes, Known)
    assert [one.pid for one in processes.value] == [7]


def test_one_lost_card_of_three_leaves_the_others() -> None:
    lost = (
        '<gpu id="00000000:02:00.0"><product_name>GPU is lost</product_name>'
        "<fb_memory_usage>GPU is lost</fb_memory_usage><utilization>GPU is lost</utilization>"
        "<temperature>GPU is lost</temperature></gpu>"
    )
    (reading,) = smi_xml.parse(xml_report(xml_card(), lost, xml_card(bus="03", uuid="GPU-3")))
    first, second, third = reading.cards
    assert first.error is None
    assert third.error is None
    assert second.error is not None
    assert second.error.reason is Reason.LOST
    assert second.pci == Known("0000:02:00.0")


def test_a_cut_report_says_so_and_knows_nothing_of_the_rest() -> None:
    whole = xml_report(xml_card(), xml_card(bus="02", processes=f"<processes>{xml_process(9)}"))
    (reading,) = smi_xml.parse(whole[: whole.index("<used_memory>")])
    assert len(reading.cards) == 2
    assert reading.cards[0].processes == Known(())
    assert reason(reading.cards[1].processes) is Reason.LOST
    assert "cut" in reading.notes[0]


def test_garbage_around_a_report_does_not_matter() -> None:
    report = xml_report(xml_card())
    assert one_card(f"Welcome!\x1b[0m\n\n{report}\nWARNING: infoROM is corrupted") == one_card(
        report
    )


def test_fewer_cards_than_attached_is_said() -> None:
    (reading,) = smi_xml.parse(xml_report(xml_card(), attached=8))
    assert any("8 cards are attached, the report holds 1" in note for note in reading.notes)


def test_csv_goes_by_column_names_and_units() -> None:
    text = (
        "index, memory.used [MiB], brand_new.thing [XY], name, memory.total [MiB], uuid, "
        "power.draw [W]\n"
        "3, 10, 5, NVIDIA Test, Limited Edition, 1000, GPU-a, 12.5\n"
    )
    card = one_card(text)
    assert (card.index, card.name) == (Known(3), Known("NVIDIA Test,Limited Edition"))
    assert (card.memory_used, card.memory_total) == (Known(10 * MIB), Known(1000 * MIB))
    assert card.power == Known(12.5)


def test_csv_of_cards_and_processes_together() -> None:
    text = (
        "index, uuid, memory.used [MiB], memory.total [MiB]\n"
        "0, GPU-a, 900 MiB, 1000 MiB\n1, GPU-b, 0 MiB, 1000 MiB\n"
        "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"
        "GPU-a, 42, python, train.py, 800 MiB\nGPU-a, 43, [Not Found], [N/A]\n"
    )
    (reading,) = smi_csv.parse(text)
    first, second = reading.cards
    assert second.processes == Known(())
    assert isinstance(first.processes, Known)
    one, other = first.processes.value
    assert (one.pid, one.name, one.memory) == (42, Known("python,train.py"), Known(800 * MIB))
    assert reason(other.memory) is Reason.NOT_SUPPORTED


def test_cnmon_goes_by_its_header_rows() -> None:
    """Other columns in another order; from memory of public pages, no recording proves them."""
    text = """\
+------------------------------------------------------------------------------+
| CNMON v4.20.18                                                               |
+-------------------------------+----------------------+-----------------------+
| Card  VF  Name       Firmware |  Inited       Driver | Util        Ecc-Error |
| Fan   Temp      Pwr:Usage/Cap |         Memory-Usage | Mode     Compute-Mode |
|===============================+======================+=======================|
| 0     /   MLU270 X5K   v1.1.4 |  On         v4.20.18 | 35%                 0 |
|  0%   44C         33 W/  70 W |  1024 MiB/ 16384 MiB | FULL          Default |
+-------------------------------+----------------------+-----------------------+
+------------------------------------------------------------------------------+
| Processes:                                                                   |
|  Card  VF  PID    Command Line                             MLU Memory Usage  |
|==============================================================================|
|  0     /   20781  python train.py --all                             900 MiB  |
+------------------------------------------------------------------------------+
"""
    card = one_card(text)
    assert (card.name, card.utilisation) == (Known("MLU270 X5K"), Known(35.0))
    assert (card.power, card.power_limit) == (Known(33.0), Known(70.0))
    assert (card.memory_used, card.memory_total) == (Known(1024 * MIB), Known(16384 * MIB))
    assert isinstance(card.processes, Known)
    (process,) = card.processes.value
    assert (process.pid, process.name) == (20781, Known("python train.py --all"))
    assert process.memory == Known(900 * MIB)


def test_amd_smi_by_its_structure() -> None:
    text = """[{"gpu": 1, "asic": {"market_name": "Instinct MI300X"},
    "bus": {"bdf": "0000:05:00.0"},
    "usage": {"gfx_activity": {"value": 37, "unit": "%"}, "umc_activity": "N/A"},
    "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"},
                  "used_vram": {"value": 283, "unit": "MB"}},
    "process_list": [{"process_info": {"name": "python3", "pid": 77,
                      "memory_usage": {"vram_mem": {"value": 1048576, "unit": "B"}}}}]}]"""
    card = one_card(text)
    assert (card.index, card.utilisation) == (Known(1), Known(37.0))
    assert card.memory_used == Known(283 * MIB)
    assert reason(card.memory_utilisation) is Reason.NOT_SUPPORTED
    assert isinstance(card.processes, Known)
    assert card.processes.value[0].memory == Known(MIB)


@pytest.mark.parametrize(
    "line",
    [
        "RAM 2448/7771MB (lfb 2x4MB) CPU [1%@345,off] EMC_FREQ 0% GR3D_FREQ 12% GPU@45.5C "
        "VDD_GPU_SOC 1388/1400",
        "04-01-2026 10:00:00 RAM 2448/7771MB (lfb 2x4MB) CPU [1%@345] GR3D_FREQ 12%@[305] "
        "cpu@50C gpu@45.5C VDD_GPU_SOC 1388mW/1400mW",
    ],
)
def test_tegrastats_of_two_releases(line: str) -> None:
    card = one_card(line + "\n")
    assert (card.utilisation, card.temperature) == (Known(12.0), Known(45.5))
    assert (card.memory_used, card.power) == (Known(2448 * MIB), Known(1.388))


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("[  123.456789] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, GPU has fallen off the bus.",
         "123.456789"),
        ("[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 79, x",
         "Sun Feb 23 16:24:18 2025"),
        ("kern  :warn  : 2025-01-21T04:41:44,283302+00:00 NVRM: Xid (PCI:0000:9b:00): 79, x",
         "2025-01-21T04:41:44,283302+00:00"),
        ("Jan  5 10:00:00 host kernel: [ 1.0] NVRM: Xid (PCI:0000:9b:00): 79, x",
         "Jan  5 10:00:00"),
        ("2026-07-03T22:22:01+0200 h kernel: NVRM: GPU 0000:9b:00.0: GPU has fallen off the bus.",
         "2026-07-03T22:22:01+0200"),
    ],
)  # fmt: skip
def test_xid_lines_of_every_log(line: str, when: str) -> None:
    (found,) = kernel_log.find_xids(line)
    assert (found.code, found.pci, found.when) == (79, "0000:9b:00.0", when)


@pytest.mark.parametrize(
    ("said", "pci", "why"),
    [
        ("Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost.  Reboot the "
         "system to recover this GPU", "0000:02:00.0", Reason.LOST),
        ("Unable to determine the device handle for GPU3: 0000:C1:00.0: Unknown Error",
         "0000:c1:00.0", Reason.UNREADABLE),
    ],
)  # fmt: skip
def test_a_card_that_does_not_answer(said: str, pci: str, why: Reason) -> None:
    card = one_card(said + "\n")
    assert card.pci == Known(pci)
    assert card.error is not None
    assert card.error.reason is why


@pytest.mark.parametrize(
    ("status", "output", "why"),
    [
        (18, "Failed to initialize NVML: Driver/library version mismatch\n", Reason.UNREADABLE),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
         Reason.ABSENT),
        (9, "", Reason.ABSENT),
        (124, "", Reason.TIMED_OUT),
        (15, "", Reason.LOST),
        (3, "Falscher Aufruf\n", Reason.UNREADABLE),
    ],
)  # fmt: skip
def test_failures_by_words_and_by_exit_code(status: int, output: str, why: Reason) -> None:
    failure = smi_failure.failure(status, output)
    assert failure.reason is why
    assert failure.words


# --- broken --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_text_is_an_exception(source: object, data: st.DataObject) -> None:
    seeds = [
        xml_report(xml_card(processes=f"<processes>{xml_process(1)}</processes>")),
        "==NVSMI LOG==\nAttached GPUs : 1\nGPU 00000000:07:00.0\n    Processes\n"
        "        Process ID : 5\n            Name : x\n    FB Memory Usage\n        Used : 4 MiB\n",
        "index, memory.used [MiB], pid\n1, 2 MiB, 3\n",
        "NVRM: Xid (PCI:0000:9b:00): 119, pid=1\n",
        '{"card0": {"GPU use (%)": "1", "PCI Bus": "x"}, "system": []}',
        "| CNMON v1 |\n| Card Name |\n|===+==|\n| 0 x |\n+--+\nProcesses\n| PID |\n|==|\n| 1 |\n",
        "RAM 1/2MB GR3D_FREQ 5%\n",
        "RAM 1/2MB\x1e GR3D_FREQ 5%\n",
        '{"errors": [], "nodes": [{"hostname": "a", "gres": "gpu:2"}]}',
        "#" * 30 + "\n# idle :: q\n# $ nvidia-smi -q\n" + "#" * 30 + "\nindex, uuid\n0, x\n",
        "Unable to determine the device handle for GPU 0: : x\n",
    ]
    text = data.draw(st.sampled_from(seeds))
    cut = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.text(max_size=20))
    end = data.draw(st.integers(cut, len(text)))
    broken = text[:cut] + junk + text[end:]
    if source.recognises(broken):  # type: ignore[attr-defined]
        assert isinstance(source.parse(broken), list)  # type: ignore[attr-defined]
    read_recording(broken)


@given(raw=st.binary(max_size=200))
def test_any_bytes_can_be_decoded(raw: bytes) -> None:
    read_recording(decode(raw))


def test_what_powershell_writes() -> None:
    text = "index, uuid, memory.used [MiB]\r\n0, GPU-a, 5 MiB\r\n"
    raw = b"\xff\xfe" + text.encode("utf-16-le")
    assert one_card(decode(raw)).memory_used == Known(5 * MIB)


@pytest.mark.parametrize("text", ["", "hello\n", "{}", "[1, 2]", "a, b\n1, 2\n", "<html></html>"])
def test_what_is_no_recording(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(UsageError, match=re.escape(str(file))):
        replay([str(file)])
    with pytest.raises(UsageError, match="No such file"):
        replay([str(tmp_path / "none")])


# --- links ---------------------------------------------------------------------------------------

LINKS = """\
GPU 0: NVIDIA Test (UUID: GPU-a)
\t Link 0: 26.562 GB/s
\t Link 1: <inactive>
\t Link 2: some word of tomorrow
\t Link 0, P2P is supported: true
GPU 1: NVIDIA Test (UUID: GPU-b)
\t Link 0: 26.562 GB/s
GPU 0: NVIDIA Test (UUID: GPU-a)
\t Link 0: Replay Errors: 7
\t Link 0: Recovery Errors: 1
\t Link 0: CRC Errors: 65535

GPU 1: NVIDIA Test (UUID: GPU-b)
\t Links 0-2, 4-5: Replay/Recovery/CRC Errors: 0
"""


def test_state_and_errors_of_links_go_together() -> None:
    found = smi_nvlink.parse(LINKS)
    first, second = found[0], found[1]
    up, down, odd = first["links"].value
    assert (up.active, up.speed) == (Known(True), Known(26.562))
    assert (up.replays, up.recoveries, up.crc) == (Known(7), Known(1), Known(65535))
    assert down.active == Known(False)
    assert reason(odd.active) is Reason.UNREADABLE  # never taken for up
    assert first["links_active"] == Known(1)
    assert reason(first["links_down"]) is Reason.UNREADABLE
    assert first["link_crc"] == Known(65535)
    assert [link.number for link in second["links"].value] == [0, 1, 2, 4, 5]
    assert second["link_replays"] == Known(0)


@pytest.mark.parametrize(
    ("sentence", "why", "active"),
    [
        ("NVML: Unable to retrieve NVLink information as all links are inActive", Reason.ABSENT, 0),
        ("Device does not have or support Nvlink", Reason.NOT_SUPPORTED, None),
        ("Nvlink queries are not supported for Devices in MIG mode", Reason.NOT_SUPPORTED, None),
        ("Verbindung unbekannt", Reason.UNREADABLE, None),
        ("", Reason.ABSENT, None),
    ],
)
@pytest.mark.parametrize("between", ["\n", " "])
def test_sentences_in_place_of_links(
    sentence: str, why: Reason, active: int | None, between: str
) -> None:
    found = smi_nvlink.parse(f"GPU 3: NVIDIA Test (UUID: GPU-a){between}{sentence}\n")[3]
    assert reason(found["links"]) is why
    assert found["links_active"] == (Known(0) if active == 0 else found["links"])


@given(st.text(alphabet="GPU Link:<>inactve0123456789-,/GBs()\n\t", max_size=200))
@settings(deadline=None)
def test_no_answer_about_links_is_an_exception(text: str) -> None:
    smi_nvlink.parse("GPU 0: x (UUID: y)\n" + text)


def test_slurm_knows_the_cards_and_not_how_they_are() -> None:
    text = """{"meta": {}, "errors": [], "nodes": [
      {"name": "n1", "hostname": "n1", "gres": "gpu:a100:2(S:0-1),gpu:1", "gres_used": "gpu:1"},
      {"name": "n2", "hostname": "n2", "gres": ""}]}"""
    first, second = read_recording(text) or []
    assert [card.name for card in first.cards[:2]] == [Known("a100")] * 2
    assert len(first.cards) == 3
    assert reason(first.cards[0].processes) is Reason.ABSENT  # so it is never shown as free
    assert (second.label, second.cards) == ("n2", ())
    assert read_recording('{"errors": [], "nodes": [1]}') is None
    assert read_recording('{"nodes": [{"hostname": "n"}]}') is None
