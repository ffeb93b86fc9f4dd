"""What a virtual AVR board is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

# program or file of this machine -> Debian 12 package
PROGRAMS = {"gcc": "gcc", "avr-gcc": "gcc-avr", "avr-objcopy": "binutils-avr"}
FILES = (
    ("/usr/include/simavr/sim_avr.h", "libsimavr-dev"),
    ("/usr/lib/avr/include/avr/io.h", "avr-libc"),
)


@dataclass(frozen=True)
class Loader:
    """A boot loader that is compiled here, from source that a Debian package brings.

    Attributes:
        source: Its C file.
        package: Debian package of that.
        address: Where it begins; the processor starts there (fuse BOOTRST).
        size: Bytes of the boot section (fuses BOOTSZ).
        version_at: Where its section ``.version`` belongs, or None where it has none.
        defines: Macros.
        options: More options of the compiler.
    """

    source: str
    package: str
    address: int
    size: int
    version_at: int | None = None
    defines: Mapping[str, int] = field(default_factory=dict)
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class AvrModel:
    """A model of a board that simavr runs.

    Attributes:
        name: Folder name below ``boards/``.
        part: Processor, as simavr and avr-gcc call it.
        hz: Its clock.
        flash_bytes: Size of its flash.
        loader: Its boot loader.
        reset_on_open: Opening the line resets it.
    """

    kind: ClassVar[str] = "avr"

    name: str
    part: str
    hz: int
    flash_bytes: int
    loader: Loader
    reset_on_open: bool = True
