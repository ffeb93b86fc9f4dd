"""The shape of ``boards/<model>/virtual.yaml``: how the virtual lab runs a model of a board."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from labctl.inventory.fields import refuse


def _like(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise refuse(f"'{value}' does not fit here; write something like '{example}'")
        return value

    return AfterValidator(check)


# Debian Policy 5.6.1 (package names); suites are lower-case words.
Package = Annotated[str, _like(r"[a-z0-9][a-z0-9+.-]+", "u-boot-qemu")]
Suite = Annotated[str, _like(r"[a-z][a-z0-9-]*", "bookworm")]
Program = Annotated[str, _like(r"qemu-system-[a-z0-9_]+", "qemu-system-aarch64")]
# They become part of one argument of QEMU, in which a comma begins an option of its own.
QemuWord = Annotated[str, _like(r"[A-Za-z0-9_.,=-]+", "virt")]
AbsolutePath = Annotated[str, _like(r"/[^\s,]+", "/usr/lib/u-boot/qemu_arm64/u-boot.bin")]
KernelWord = Annotated[str, _like(r"[!-~]+", "mitigations=off")]
Tty = Annotated[str, _like(r"tty[A-Za-z0-9]+", "ttyAMA0")]
Part = Annotated[str, _like(r"at[a-z0-9]+", "atmega328p")]
Macro = Annotated[str, _like(r"[A-Za-z_][A-Za-z0-9_]*", "BAUD_RATE")]
Option = Annotated[str, _like(r"-[!-~]+", "-mrelax")]
Module = Annotated[str, _like(r"[a-z0-9_]+", "virtio_blk")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileEntry(_Strict):
    """A file of this machine."""

    file: AbsolutePath = Field(description="Its path.")
    package: Package = Field(description="Debian 12 package that it comes with.")


class FirmwareEntry(_Strict):
    """What the board executes first. Either ``flash``, or ``bios`` and ``payload``."""

    flash: FileEntry | None = Field(None, description="In the first flash bank.")
    bios: FileEntry | None = Field(None, description="For QEMU's -bios, such as OpenSBI.")
    payload: FileEntry | None = Field(None, description="What the bios starts (QEMU's -kernel).")


class LinuxEntry(_Strict):
    """The Linux on its disk; a board without it goes no further than its boot loader."""

    suite: Suite = Field("bookworm", description="Debian suite to fetch the packages from.")
    kernel: Package = Field(description="Package of the kernel; a metapackage is followed.")
    console: Tty = Field(description="The kernel's name of the serial line.")
    modules: list[Module] = Field(description="Kernel modules for its disk and network, in order.")
    words: list[KernelWord] = Field([], description="More words for the kernel's command line.")


class VirtualFile(_Strict):
    """A model of a board that QEMU emulates."""

    kind: Literal["qemu", "scripted", "rom", "avr"] = Field(description="What runs it.")
    architecture: Package = Field(description="Debian's name of it, for packages.")
    program: Program = Field(description="QEMU's program.")
    program_package: Package = Field(description="Debian 12 package of it.")
    machine: QemuWord = Field(description="QEMU's -machine.")
    cpu: QemuWord = Field(description="QEMU's -cpu.")
    memory_mib: int = Field(512, ge=64, le=65536, description="Memory, MiB.")
    firmware: FirmwareEntry = Field(description="What it executes first.")
    flash_mib: int | None = Field(
        None, ge=1, le=256, description="Size of each of two flash banks that are kept, MiB."
    )
    disk_mib: int = Field(96, ge=8, le=65536, description="Size of its disk, MiB.")
    linux: LinuxEntry | None = Field(None, description="The Linux on its disk.")


class ProgramFile(_Strict):
    """A model of a board that a program of ours plays."""

    kind: Literal["scripted", "rom"] = Field(description="What runs it.")
    settings: dict[str, Any] = Field(
        {}, description="How it behaves; see docs/scripted-board.md and docs/rom-boards.md."
    )


class LoaderEntry(_Strict):
    """A boot loader that is compiled on this machine."""

    source: AbsolutePath = Field(description="Its C file.")
    package: Package = Field(description="Debian 12 package that it comes with.")
    address: int = Field(ge=0, description="Where it begins; the processor starts there.")
    size: int = Field(ge=2, description="Bytes of the boot section.")
    version_at: int | None = Field(None, ge=0, description="Where its section .version belongs.")
    defines: dict[Macro, int] = Field({}, description="Macros.")
    options: list[Option] = Field([], description="More options of the compiler.")


class AvrFile(_Strict):
    """A model of a board with an AVR, which simavr runs."""

    kind: Literal["avr"] = Field(description="What runs it.")
    part: Part = Field(description="Its processor, as avr-gcc calls it.")
    hz: int = Field(ge=1, le=64_000_000, description="Its clock, Hz.")
    flash_bytes: int = Field(ge=512, le=1 << 20, description="Size of its flash.")
    reset_on_open: bool = Field(True, description="Opening its line resets it (by DTR).")
    loader: LoaderEntry = Field(description="Its boot loader.")
