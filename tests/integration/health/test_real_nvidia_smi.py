"""The driver doctor and the real nvidia-smi where there is no driver.

Debian's nvidia-smi and libnvidia-ml1 (non-free) are fetched and unpacked into a folder of the test,
never installed. Without Debian's archive the tests skip.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.facts.gpu import smi_failure
from labctl.facts.gpu.collect import nvidia
from labctl.facts.machine import driver, gpu
from labctl.facts.machine.reading import Reading, understand
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Known, Reason
from labctl.health.judge import judge
from labctl.health.rules_file import shipped_rules
from labctl.vlab.foreign_apt import ForeignApt
from labctl.vlab.hostapt import SUITE

# Where Debian's packages have them (dpkg -L).
TOOL = "usr/lib/nvidia/current/nvidia-smi"
LIBRARY = "usr/lib/x86_64-linux-gnu/nvidia/current"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that both packages are unpacked in."""
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has NVIDIA's driver")
    folder = tmp_path_factory.mktemp("real")
    try:
        apt = ForeignApt(folder, "amd64", SUITE, thing="test", progress=str, parts=["non-free"])
        apt.download(["nvidia-smi", "libnvidia-ml1"])
        apt.unpack(folder)
    except LabctlError as error:
        pytest.skip(f"Debian's non-free packages cannot be fetched: {error}")
    return folder


def environment(root: Path, folder: Path, *, library: bool = True) -> dict[str, str]:
    """Return one in which nvidia-smi is found first, and its library if it is to be."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    if not (programs / "nvidia-smi").exists():
        (programs / "nvidia-smi").symlink_to(root / TOOL)
    found = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C",
             "HOME": str(folder), "XDG_STATE_HOME": str(folder)}  # fmt: skip
    found.pop("LD_LIBRARY_PATH", None)
    return {**found, "LD_LIBRARY_PATH": str(root / LIBRARY)} if library else found


@pytest.mark.parametrize(("library", "status"), [(True, 9), (False, 12)])
def test_its_words_are_understood(root: Path, tmp_path: Path, library: bool, status: int) -> None:
    done = subprocess.run(
        ["nvidia-smi", "-q", "-x"], env=environment(root, tmp_path, library=library),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status
    facts = nvidia(done.stdout, done.returncode)
    assert facts.failure is not None
    assert facts.failure.reason is Reason.ABSENT
    # In its own words, not in those that we have for the number; and known where they stand alone.
    assert facts.failure.words.split()[0] == "NVIDIA-SMI"
    assert smi_failure.recognises(done.stdout)


READ = """
import json
from labctl.facts.gpu.nvml import read_local
from labctl.facts.value import to_json
print(json.dumps(to_json(read_local(deadline=60))))
"""


def test_the_real_library_says_that_there_is_no_driver(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment(root, tmp_path), capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    failure = json.loads(done.stdout)["failure"]
    assert failure == {"unknown": "absent", "words": "the NVIDIA driver is not loaded"}


RELEASE = "6.1.0-18-amd64"
PACKAGES = "printf 'ii  nvidia-driver\\nii  libnvidia-ml1\\n'"
# Programs that answer for the machine.
PROGRAMS = {
    "systemd-detect-virt": "echo none; exit 1", "uname": f"echo {RELEASE}", "modinfo": "exit 1",
    "dpkg-query": "exit 1", "apt-get": "exit 0", "apt-config": "exit 0", "dkms": "exit 0",
}  # fmt: skip


def diagnosis(root: Path, machine: Path, *, card: bool, **programs: str) -> list[str]:
    """Return the ids of what the doctor finds on a machine without a driver, by the real snippets.

    Args:
        root: Where the real nvidia-smi is.
        machine: Folder for its /sys, /dev, /boot, kernels and programs.
        card: It has one.
        programs: Changes to `PROGRAMS`.
    """

    def put(path: str, text: str = "") -> Path:
        file = machine / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    address = "0000:01:00.0" if card else "0000:00:1f.0"
    put(f"sys/bus/pci/devices/{address}/vendor", "0x10de\n" if card else "0x8086\n")
    put(f"sys/bus/pci/devices/{address}/class", "0x030200\n" if card else "0x060100\n")
    put(f"boot/vmlinuz-{RELEASE}")
    put(f"lib/modules/{RELEASE}/modules.dep")
    put("dev/null")
    found = environment(root, machine)
    for name, text in {**PROGRAMS, **programs}.items():
        put(f"bin/{name.replace('_', '-')}", f"#!/bin/sh\n{text}\n").chmod(0o755)
    outputs = {}
    for probe in (driver.PROBE, gpu.PROBE):
        snippet = re.sub(
            r"(?<![\w/])/(sys|lib/modules|boot|dev/nvidia)(?=[/*\w-])",
            rf"{machine}/\1",
            probe.snippet,
        )
        done = subprocess.run(
            ["sh", "-s"], input=f"{PROLOGUE}(\n{snippet}\n) </dev/null 2>/dev/null\n", env=found,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        outputs[probe.name] = done.stdout.replace(str(machine), "")
    facts = understand(Reading(0.0, outputs))
    asked = facts.get("gpu", gpu.Gpu)
    assert isinstance(asked, Known)
    assert (asked.value.tool, asked.value.status) == (Known("nvidia-smi"), Known(9))
    assert "NVIDIA-SMI has failed" in str(asked.value.said)
    return [one.rule for one in judge(facts.parts, shipped_rules()).findings]


@pytest.mark.parametrize(
    ("programs", "rule"),
    [
        ({}, "driver-not-installed"),
        ({"dpkg_query": PACKAGES}, "module-needs-headers"),
        ({"dpkg_query": PACKAGES, "modinfo": "echo 535.309.01"}, "module-not-loaded"),
    ],
)
def test_the_doctor_names_the_cause(
    root: Path, tmp_path: Path, programs: dict[str, str], rule: str
) -> None:
    assert diagnosis(root, tmp_path, card=True, **programs) == [rule]


def test_where_there_is_no_card_nothing_is_missing(root: Path, tmp_path: Path) -> None:
    assert diagnosis(root, tmp_path, card=False) == []


def test_labctl_gpu_says_that_there_is_no_card(root: Path, tmp_path: Path) -> None:
    if any(device.read_text().strip() == "0x10de"
           for device in Path("/sys/bus/pci/devices").glob("*/vendor")):  # fmt: skip
        pytest.skip("this machine has a card of NVIDIA's")
    done = subprocess.run(
        [sys.executable, "-m", "labctl", "gpu", "local"], env=environment(root, tmp_path),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "local: no card\n"), done.stderr
