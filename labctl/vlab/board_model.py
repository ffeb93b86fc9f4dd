"""How the virtual lab runs a model of a board: ``boards/<model>/virtual.yaml``, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labctl.errors import UsageError
from labctl.inventory.diagnostics import Diagnostic, InventoryError, did_you_mean, shown_path
from labctl.inventory.textfile import read_text
from labctl.paths import board_dirs
from labctl.vlab.avr.parts import AvrModel, Loader

if TYPE_CHECKING:
    from labctl.vlab import board_schema

_NAME = "virtual.yaml"


@dataclass(frozen=True)
class PackagedFile:
    """A file of this machine, and the Debian 12 package that it comes with."""

    file: str
    package: str


@dataclass(frozen=True)
class LinuxParts:
    """The Linux on a board's disk.

    Attributes:
        suite: Debian suite to fetch the packages from.
        kernel: Package of the kernel; a metapackage is followed.
        console: The kernel's name of the serial line.
        modules: Kernel modules for its disk and network, in order.
        words: More words for the kernel's command line.
    """

    suite: str
    kernel: str
    console: str
    modules: tuple[str, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class VirtualModel:
    """A model that QEMU emulates.

    Attributes:
        name: Folder name below ``boards/``.
        architecture: Debian's name of it, for packages.
        program: QEMU's program.
        program_package: Debian package of it.
        machine: QEMU's machine.
        cpu: QEMU's processor.
        memory_mib: Memory, MiB.
        flash: What is in the first flash bank, or None.
        bios: What QEMU loads as firmware, or None.
        payload: What the bios starts, or None.
        flash_mib: Size of each of the two flash banks, MiB; None where they are not kept.
        disk_mib: Size of its disk, MiB.
        linux: The Linux on its disk, or None.
    """

    kind: ClassVar[str] = "qemu"

    name: str
    architecture: str
    program: str
    program_package: str
    machine: str
    cpu: str
    memory_mib: int = 512
    flash: PackagedFile | None = None
    bios: PackagedFile | None = None
    payload: PackagedFile | None = None
    flash_mib: int | None = None
    disk_mib: int = 96
    linux: LinuxParts | None = None

    def firmware(self) -> list[PackagedFile]:
        """Return the files that it cannot start without."""
        return [one for one in (self.flash, self.bios, self.payload) if one]


@dataclass(frozen=True)
class ScriptedModel:
    """A model that `labctl.vlab.scripted` plays.

    Attributes:
        name: Folder name below ``boards/``.
        settings: How it behaves; that program checks them.
    """

    kind: ClassVar[str] = "scripted"

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class RomModel:
    """A model whose chip's boot ROM `labctl.vlab.rom` plays.

    Attributes:
        name: Folder name below ``boards/``.
        settings: Its chip and its line; that program checks them.
    """

    kind: ClassVar[str] = "rom"

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)


AnyModel = VirtualModel | ScriptedModel | RomModel | AvrModel


_PROGRAMS: Mapping[str, type[ScriptedModel | RomModel]] = {
    one.kind: one for one in (ScriptedModel, RomModel)
}


def virtual_models(inventory: Path | None) -> dict[str, Path]:
    """Return the models that can be run: name -> file; the first folder of the search path wins."""
    found: dict[str, Path] = {}
    for folder in board_dirs(inventory):
        for path in sorted(folder.glob(f"*/{_NAME}")):
            found.setdefault(path.parent.name, path)
    return dict(sorted(found.items()))


def read_virtual(model: str, inventory: Path | None) -> AnyModel:
    """Return how ``model`` is run.

    Args:
        model: Folder name below ``boards/``.
        inventory: The inventory file, beside which models are looked for first.

    Raises:
        UsageError: It cannot be run here.
        InventoryError: Its file has mistakes; carries all of them.
    """
    known = virtual_models(inventory)
    if model not in known:
        raise UsageError(
            f"the virtual lab cannot run this model{did_you_mean(model, known)}",
            thing=model, action=f"it runs: {', '.join(known) or 'none'}",
        )  # fmt: skip
    return _from_text(read_text(known[model], what="a virtual board"), known[model])


def _from_text(text: str, path: Path) -> AnyModel:
    from pydantic import ValidationError  # noqa: PLC0415 - slow, and only needed to start a board

    from labctl.inventory.validate import explain, locate  # noqa: PLC0415
    from labctl.inventory.yamlnodes import parse  # noqa: PLC0415
    from labctl.vlab.board_schema import AvrFile, ProgramFile, VirtualFile  # noqa: PLC0415

    shown = shown_path(path)
    root, mistakes = parse(text)
    if root is None or mistakes:
        raise InventoryError(shown, mistakes or [Diagnostic(1, 1, "the file is empty")])
    data = root.value()
    kind = str(data.get("kind")) if isinstance(data, dict) else ""
    shape: type[ProgramFile | AvrFile | VirtualFile] = VirtualFile
    if kind in _PROGRAMS:
        shape = ProgramFile
    elif kind == AvrModel.kind:
        shape = AvrFile
    try:
        file = shape.model_validate(data)
    except ValidationError as error:
        found = explain(error, shape, lambda place, key: locate(root, place, key=key))
        raise InventoryError(shown, [one for one, _ in found]) from None
    if isinstance(file, ProgramFile):
        return _PROGRAMS[file.kind](path.parent.name, file.settings)
    if isinstance(file, AvrFile):
        return _avr(path.parent.name, file)
    where = locate(root, ["firmware"], key=True)
    if problem := _contradiction(file):
        raise InventoryError(shown, [Diagnostic(where.line, where.column, problem)])
    return _build(path.parent.name, file)


def _avr(name: str, file: board_schema.AvrFile) -> AvrModel:
    loader = file.loader
    return AvrModel(
        name, file.part, file.hz, file.flash_bytes,
        Loader(loader.source, loader.package, loader.address, loader.size, loader.version_at,
               loader.defines, tuple(loader.options)),
        file.reset_on_open,
    )  # fmt: skip


def _contradiction(file: board_schema.VirtualFile) -> str | None:
    firmware = file.firmware
    if (firmware.flash is None) == (firmware.bios is None):
        return "firmware begins in flash or in a bios; write one of 'flash' and 'bios'"
    if firmware.flash is not None and file.flash_mib is None:
        return "firmware in flash needs the size of the flash; write 'flash_mib: …'"
    if firmware.payload is not None and firmware.bios is None:
        return "a payload is started by a bios; write 'bios', or leave 'payload' out"
    return None


def _build(name: str, file: board_schema.VirtualFile) -> VirtualModel:
    def packaged(entry: board_schema.FileEntry | None) -> PackagedFile | None:
        return None if entry is None else PackagedFile(entry.file, entry.package)

    linux = file.linux
    return VirtualModel(
        name=name,
        architecture=file.architecture,
        program=file.program,
        program_package=file.program_package,
        machine=file.machine,
        cpu=file.cpu,
        memory_mib=file.memory_mib,
        flash=packaged(file.firmware.flash),
        bios=packaged(file.firmware.bios),
        payload=packaged(file.firmware.payload),
        flash_mib=file.flash_mib,
        disk_mib=file.disk_mib,
        linux=None if linux is None else _linux(linux),
    )


def _linux(entry: board_schema.LinuxEntry) -> LinuxParts:
    return LinuxParts(
        entry.suite, entry.kernel, entry.console, tuple(entry.modules), tuple(entry.words)
    )
