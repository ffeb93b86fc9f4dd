"""The driver doctor on whole machines: their files and programs, the real snippets, the findings.

A machine here is a folder with what the probes look at (/sys, /lib/modules, /boot, /dev) and
stand-ins for the programs that they start; of the snippets nothing is replaced but these folders.
"""

import os
import pwd
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from labctl.facts.machine import driver, gpu
from labctl.facts.machine.reading import Reading, understand
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Known
from labctl.health.finding import Finding
from labctl.health.judge import judge
from labctl.health.rules_file import shipped_rules

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]

OLD, NEW = "6.1.0-18-amd64", "6.1.0-21-amd64"
REPORT = (
    "<nvidia_smi_log><driver_version>{0}</driver_version><attached_gpus>1</attached_gpus>"
    "<gpu id='00000000:01:00.0'><product_name>NVIDIA A2</product_name></gpu></nvidia_smi_log>"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
LOST = "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost."


@dataclass(frozen=True)
class Box:
    """A machine with one card; healthy as it is."""

    cards: tuple[str, ...] = ("0000:01:00.0",)
    bound: str = "nvidia"
    loaded: str = "535.154.05"
    library: str = "535.154.05"
    modules: dict[str, str] = field(default_factory=lambda: {OLD: "535.154.05"})
    headers: tuple[str, ...] = (OLD,)
    packages: tuple[str, ...] = ("nvidia-driver", "libnvidia-ml1")
    kernels: tuple[str, ...] = (OLD,)
    devices: tuple[str, ...] = ("nvidia0", "nvidiactl")
    smi: str | None = REPORT.format("535.154.05")
    smi_status: int = 0
    secure_boot: bool = False
    upgrades: tuple[str, ...] = ()
    unattended: bool = False
    virtual: str = "none"
    dmesg: str = ""
    refused: str = ""


HEALTHY = Box()
UNLOADED = replace(HEALTHY, bound="", loaded="", devices=(), smi=NO_DRIVER, smi_status=9)
NO_MODULE = replace(UNLOADED, modules={}, kernels=(OLD, NEW))


def lay_out(box: Box, root: Path) -> None:
    """Write the machine's files and programs below ``root``."""

    def put(path: str, text: str = "") -> Path:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def program(name: str, text: str) -> None:
        put(f"bin/{name}", f"#!/bin/sh\n{text}\n").chmod(0o755)

    for address in box.cards:
        put(f"sys/bus/pci/devices/{address}/vendor", "0x10de\n")
        put(f"sys/bus/pci/devices/{address}/class", "0x030200\n")
        if box.bound:
            (root / f"sys/bus/pci/devices/{address}/driver").symlink_to(f"/drivers/{box.bound}")
    put("sys/bus/pci/devices/0000:00:1f.0/vendor", "0x8086\n")
    put("sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n")
    if box.loaded:
        put("sys/module/nvidia/version", f"{box.loaded}\n")
    if box.secure_boot:
        put("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2", "\x06\x00\x00\x00\x01")
    for release in box.kernels:
        put(f"boot/vmlinuz-{release}")
        put(f"lib/modules/{release}/modules.dep")
        if release in box.headers:
            put(f"lib/modules/{release}/build/Makefile")
    for name in box.devices:
        put(f"dev/{name}")
    cases = "".join(f"{release}) echo {version};; " for release, version in box.modules.items())
    program("modinfo", f'case "$4" in {cases}*) exit 1;; esac')
    program("uname", f"echo {OLD}")
    program("dkms", "echo 'nvidia-current/535.154.05: added'" if not box.modules else "true")
    lib = put(f"usr/lib/libnvidia-ml.so.{box.library}") if box.library else root / "none"
    line = f"\tlibnvidia-ml.so.1 (libc6,x86-64) => {lib}" if box.library else ""
    program("ldconfig", f"printf '%s\\n' '{line}'")
    listed = "\\n".join(f"ii  {name}" for name in box.packages)
    program("dpkg-query", f"printf '{listed}\\n'" if listed else "exit 1")
    inst = "".join(f"echo 'Inst {name} [1] (2 Debian:12/stable [amd64])';" for name in box.upgrades)
    program("apt-get", f"{inst} true")
    program("apt-config", f"echo \"Unattended='{int(box.unattended)}'\"")
    if box.unattended:
        program("unattended-upgrade", "true")
    program("systemd-detect-virt", f"echo {box.virtual}; [ {box.virtual} != none ]")
    if box.refused:  # this machine would let us open the file
        program("dd", f"echo \"dd: failed to open '/dev/nvidiactl': {box.refused}\" >&2; exit 1")
    program("dmesg", f"printf '%s\\n' '{box.dmesg}'")
    if box.smi is not None:
        put("smi.out", box.smi + "\n")
        hang = "exec sleep 600" if box.smi == "hang" else f"cat {root}/smi.out"
        program("nvidia-smi", f"{hang}; exit {box.smi_status}")


def findings(box: Box, root: Path) -> list[Finding]:
    """Return what the rules say of the machine, by the real snippets."""
    lay_out(box, root)
    outputs = {}
    for probe in (driver.PROBE, gpu.PROBE):
        snippet = re.sub(
            r"(?<![\w/])/(sys|lib/modules|boot|dev/nvidia)(?=[/*\w-])",
            lambda found: f"{root}/{found.group(1)}",
            probe.snippet,
        ).replace("part said 20 ", "part said 1 ")
        said = subprocess.run(
            ["sh", "-s"],
            input=f"{PROLOGUE}(\n{snippet}\n) </dev/null 2>/dev/null\n".encode(),
            capture_output=True,
            timeout=60,
            check=False,
            env={"PATH": f"{root}/bin:{os.environ['PATH']}", "LC_ALL": "C"},
        )
        outputs[probe.name] = said.stdout.decode().replace(str(root), "")
    machine = understand(Reading(0.0, outputs))
    verdict = judge(machine.parts, shipped_rules())
    # What the broken driver itself would have said is not known; everything else is.
    assert {gap.reason for gap in verdict.not_judged} <= {"timed_out", "unreadable"}, outputs
    return [one for one in verdict.findings if one.rule != "card-without-persistence"]


@pytest.mark.parametrize(
    ("box", "rules"),
    [
        (HEALTHY, []),
        (replace(HEALTHY, virtual="docker"), []),
        (
            Box(cards=(), bound="", loaded="", library="", packages=(), devices=(), smi=None),
            [],
        ),
        (
            replace(UNLOADED, bound="nouveau"),
            ["nouveau-has-the-card"],
        ),
        (
            replace(UNLOADED, packages=(), modules={}, library="", smi=None),
            ["driver-not-installed"],
        ),
        (
            replace(HEALTHY, library="550.144.03", smi=MISMATCH, smi_status=18),
            ["driver-older-than-library"],
        ),
        (
            replace(HEALTHY, library="550.1", smi=MISMATCH, smi_status=18, virtual="docker"),
            ["container-library-mismatch"],
        ),
        (replace(HEALTHY, devices=(), smi=None, virtual="docker"), ["container-without-cards"]),
        (replace(UNLOADED, secure_boot=True), ["module-not-signed"]),
        (
            replace(UNLOADED, dmesg="nvidia: Loading of module with Key was rejected by service"),
            ["module-not-signed"],
        ),
        (replace(NO_MODULE, headers=()), ["module-needs-headers"]),
        (NO_MODULE, ["module-not-built"]),
        (UNLOADED, ["module-not-loaded"]),
        (
            replace(HEALTHY, cards=(), bound="", loaded="", smi=NO_DRIVER, smi_status=9),
            ["driver-without-card"],
        ),
        (replace(HEALTHY, library="", smi=None), ["library-missing"]),
        (replace(HEALTHY, devices=()), ["device-files-missing"]),
        (
            replace(HEALTHY, refused="Operation not permitted", smi=None, virtual="lxc"),
            ["device-files-refused"],
        ),
        (
            replace(HEALTHY, refused="Operation not permitted", smi="hidden", smi_status=255),
            ["device-files-refused"],
        ),
        (replace(HEALTHY, smi=LOST, smi_status=15), ["card-lost", "card-not-readable"]),
        (replace(HEALTHY, smi="hang"), ["driver-wedged"]),
        (replace(HEALTHY, smi="Unknown Error", smi_status=255), ["cards-not-readable"]),
        (
            replace(HEALTHY, smi="Failed to initialize NVML: Unknown Error", smi_status=231),
            ["cards-not-readable"],
        ),  # 999 as an exit status has eight bits
        (replace(HEALTHY, smi="NVML library missing", smi_status=12), ["cards-not-readable"]),
        (
            replace(HEALTHY, smi="\x1b]0;x\x07 <<< Ungültig", smi_status=0),
            ["cards-answer-not-understood"],
        ),
        (
            replace(HEALTHY, cards=("0000:01:00.0", "0000:02:00.0")),
            ["card-not-readable"],
        ),
        (replace(HEALTHY, kernels=(OLD, NEW)), ["next-kernel-has-no-driver"]),
        (
            replace(HEALTHY, kernels=(OLD, NEW), modules={OLD: "535.154.05", NEW: "535.154.05"}),
            [],
        ),
        (replace(HEALTHY, modules={OLD: "550.144.03"}), ["driver-replaced-on-disk"]),
        (
            replace(HEALTHY, upgrades=("libnvidia-ml1", "bash"), unattended=True),
            ["driver-will-be-replaced"],
        ),
        (replace(HEALTHY, upgrades=("libnvidia-ml1",)), ["driver-upgrade-waits"]),
        (replace(HEALTHY, upgrades=("bash",)), []),
    ],
)
def test_one_cause(box: Box, rules: list[str], tmp_path: Path) -> None:
    found = findings(box, tmp_path)
    assert [one.rule for one in found] == rules
    assert all(one.says and one.action for one in found)


def test_the_way_out_names_kernel_and_versions(tmp_path: Path) -> None:
    (finding,) = findings(replace(NO_MODULE, headers=()), tmp_path)
    assert f"linux-headers-{OLD}" in finding.action


def test_who_would_be_interrupted(tmp_path: Path, sh: Shell) -> None:
    """A real process that holds a device file open is found and named."""
    lay_out(HEALTHY, tmp_path)
    snippet = driver.PROBE.snippet.replace("/dev/nvidia", f"{tmp_path}/dev/nvidia")
    script = f"{PROLOGUE}PATH={tmp_path}/bin:$PATH\n( {snippet} ) </dev/null 2>/dev/null"
    with (tmp_path / "dev" / "nvidiactl").open() as device:
        process = subprocess.Popen(["sleep", "600"], stdin=device)
        try:
            holders = driver.parse(sh(script).stdout.decode()).holders
        finally:
            process.terminate()
            process.wait(30)
    assert isinstance(holders, Known)
    mine = next(one for one in holders.value if one.pid == process.pid)
    assert str(mine) == f"sleep of {pwd.getpwuid(os.getuid()).pw_name} ({process.pid})"
