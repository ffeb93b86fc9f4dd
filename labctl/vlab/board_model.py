"""How the virtual lab runs a model of a board: ``boards/<model>/virtual.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.paths import board_dirs


@dataclass(frozen=True)
class VirtualModel:
    """A model that QEMU emulates.

    Attributes:
        architecture: Debian's name of it, for packages.
        program: QEMU's program.
        program_package: Debian package of it.
        machine: QEMU's machine.
        cpu: QEMU's processor.
        memory_mib: Memory, MiB.
        firmware: File of U-Boot.
        firmware_package: Debian package of it.
        flash_mib: Size of each of the two flash banks, MiB.
        kernel: Debian package of the kernel, a metapackage.
        console: The kernel's name of the serial line.
    """

    architecture: str
    program: str
    program_package: str
    machine: str
    cpu: str
    memory_mib: int
    firmware: str
    firmware_package: str
    flash_mib: int
    kernel: str
    console: str


def virtual_file(model: str, inventory: Path | None) -> Path | None:
    """Return the file that says how ``model`` is run, or None where nobody describes it."""
    for folder in board_dirs(inventory):
        path = folder / model / "virtual.yaml"
        if path.is_file():
            return path
    return None


def read_virtual(model: str, inventory: Path | None) -> VirtualModel:
    """Return how ``model`` is run.

    Raises:
        UsageError: It cannot be run here, or its file has mistakes.
    """
    import yaml  # noqa: PLC0415 - slow, and only needed to start a board

    path = virtual_file(model, inventory)
    if path is None:
        raise UsageError(
            "the virtual lab cannot run this model", thing=model,
            action="use one with a virtual.yaml, such as qemu-arm64",
        )  # fmt: skip
    try:
        data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = data.pop("kind")
    except (yaml.YAMLError, AttributeError, KeyError) as error:
        raise UsageError(f"not readable: {error}", thing=str(path)) from None
    if kind != "qemu":
        raise UsageError(f"no such kind: '{kind}'", thing=str(path), action="write 'kind: qemu'")
    wanted = {field.name: field.type for field in fields(VirtualModel)}
    problems = [f"'{name}' is missing" for name in wanted if name not in data]
    problems += [f"unknown key '{name}'" for name in data if name not in wanted]
    problems += [
        f"'{name}' must be {'a number' if kind == 'int' else 'text'}"
        for name, kind in wanted.items()
        if name in data and not isinstance(data[name], int if kind == "int" else str)
    ]
    if problems:
        raise UsageError("; ".join(problems), thing=str(path), action="correct the file")
    return VirtualModel(**data)
