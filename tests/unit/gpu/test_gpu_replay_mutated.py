"""Recordings as the world will bring them: of drivers not seen yet, damaged, from other systems.

Each real recording (or, where they are not there, a made-up one) is changed as a new driver, a bad
copy or another system would change it, and must be read: without an exception, and without a card
that counts as free though what says so is gone.
"""

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from gpu_reports import xml_card, xml_process, xml_report
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.facts.gpu.recording import decode, read_recording
from labctl.facts.machine import kernel_log
from labctl.facts.machine.gpu import from_facts
from labctl.facts.value import Known, to_json
from labctl.gpu.reading import Reading
from labctl.gpu.show import as_data, cells, lines, remarks
from labctl.health.judge import judge
from labctl.health.rules_file import shipped_rules

ROOT = Path(__file__).parents[3]
MADE_UP = xml_report(
    xml_card(used="900 MiB", processes=f"<processes>{xml_process(42)}</processes>"),
    xml_card(bus="02", uuid="GPU-2"),
)


@cache
def originals() -> list[bytes]:
    folder = Path(os.environ.get("LABCTL_SAMPLES", ROOT.parent / "shared" / "samples"))
    files = sorted(one for one in folder.rglob("*") if one.is_file()) if folder.is_dir() else []
    return [MADE_UP.encode(), *(one.read_bytes() for one in files)]


Change = Callable[[str, int], str]


def cut(text: str, at: int) -> str:
    return text[: at % (len(text) + 1)]


def begin_late(text: str, at: int) -> str:
    return text[at % (len(text) + 1) :]


def windows(text: str, at: int) -> str:
    return text.replace("\n", "\r\n")


def other_driver(text: str, at: int) -> str:
    text = re.sub(r"\b(4\d\d|5\d\d)\.\d+(?:\.\d+)?\b", f"{700 + at % 100}.{at % 300}", text)
    return re.sub(r"nvsmi_device_v\d+", f"nvsmi_device_v{14 + at % 80}", text)


def renamed(text: str, at: int) -> str:
    """One name of a field becomes another one everywhere."""
    names = sorted(set(re.findall(r"<([a-z_]{3,})>|^ *([A-Z][A-Za-z ]+?) +:", text, re.M)))
    flat = [one for pair in names for one in pair if one]
    if not flat:
        return text
    name = flat[at % len(flat)]
    return text.replace(name, "new_" + name)


def without_a_line(text: str, at: int) -> str:
    rows = text.split("\n")
    del rows[at % len(rows)]
    return "\n".join(rows)


def twice_a_line(text: str, at: int) -> str:
    rows = text.split("\n")
    rows.insert(at % len(rows), rows[(at * 7) % len(rows)])
    return "\n".join(rows)


def new_field(text: str, at: int) -> str:
    rows = text.split("\n")
    odd = ["<flux_state><level>7 Q</level></flux_state>", "    Flux State    : 7 Q", "x, y, z"]
    rows.insert(at % len(rows), odd[at % 3])
    return "\n".join(rows)


def other_locale(text: str, at: int) -> str:
    """Decimal commas, words of another language, a byte order mark."""
    text = re.sub(r"(\d)\.(\d\d?) (W|C|GB/s)\b", r"\1,\2 \3", text)
    for one, other in (("N/A", "k. A."), ("Enabled", "Aktiviert"), ("None", "Keine")):
        text = text.replace(one, other)
    return "\ufeff" + text


def garbage(text: str, at: int) -> str:
    place = at % (len(text) + 1)
    return text[:place] + "\x1b]0;x\x07\x00\ud7ff<&>\u2028" + text[place + at % 9 :]


CHANGES: list[Change] = [cut, begin_late, windows, other_driver, renamed, without_a_line,
                         twice_a_line, new_field, other_locale, garbage]  # fmt: skip


def shown(text: str) -> list[str]:
    """Go every way that ``labctl gpu --replay`` and ``labctl check --replay`` go."""
    states = []
    for facts in read_recording(text) or []:
        reading = Reading("file", facts)
        units = lines([reading])
        as_data([reading], units)
        for line in units:
            assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(cells(line)))
        remarks(reading)
        states += [str(line.verdict.state) for line in units]
        judge({"gpu": Known(from_facts(facts))}, shipped_rules())
    rows = text.splitlines()
    if kernel_log.recognises(rows):
        part = kernel_log.from_lines(rows)
        to_json(part)
        judge({"kernel_log": Known(part)}, shipped_rules())
    return states


@given(
    which=st.integers(0, 63),
    changes=st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 1 << 20)), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_no_change_of_a_recording_is_an_error(
    which: int, changes: list[tuple[Change, int]]
) -> None:
    known = originals()
    text = decode(known[which % len(known)])
    for change, at in changes:
        text = change(text, at)
    shown(decode(text.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_every_encoding_of_a_report_is_read(encoding: str) -> None:
    assert shown(decode(MADE_UP.encode(encoding))) == ["busy", "free"]


@pytest.mark.parametrize("change", [windows, other_driver, new_field])
def test_what_does_not_matter_changes_no_state(change: Change) -> None:
    for at in (3, 40):
        assert shown(change(MADE_UP, at)) == ["busy", "free"]


@given(at=st.integers(0, len(MADE_UP)))
@settings(max_examples=60, deadline=None)
def test_a_report_cut_anywhere_never_frees_a_card(at: int) -> None:
    states = shown(MADE_UP[:at])
    assert states[:1] in ([], ["unknown"], ["busy"])


@pytest.mark.parametrize(
    "name", ["processes", "process_info", "pid", "used", "fb_memory_usage", "type", "total"]
)
def test_a_renamed_field_never_frees_a_card_that_is_busy(name: str) -> None:
    text = re.sub(rf"(</?){name}(\s*/?>)", r"\1new_name\2", MADE_UP)
    assert shown(text)[0] != "free"
