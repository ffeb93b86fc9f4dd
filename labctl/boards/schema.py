"""The shape of ``boards/<model>/board.yaml``, for validation and for editors (JSON Schema)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from labctl.boards.model_fields import (
    Address,
    Baud,
    Count,
    Interface,
    Keys,
    LineLimit,
    Pattern,
    Seconds,
    Size,
    Switched,
    UsbNumber,
)
from labctl.inventory.fields import Name, refuse
from labctl.inventory.schema import SCHEMA_DIALECT


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LineEntry(_Strict):
    """How bytes are sent on its console."""

    baud: Baud = Field(115200, description="Rate, baud.")
    data_bits: Literal[5, 6, 7, 8] = Field(8, description="Bits of a character.")
    parity: Literal["none", "even", "odd"] = Field("none", description="Parity bit.")
    stop_bits: Literal[1, 2] = Field(1, description="Stop bits.")
    flow: Literal["none", "rtscts", "xonxoff"] = Field("none", description="Flow control.")
    dtr: bool | None = Field(
        None, description="Data Terminal Ready when opened; left as it is if not given."
    )
    rts: bool | None = Field(
        None, description="Request To Send when opened; left as it is if not given."
    )
    fifo_bytes: Count = Field(
        16,
        description="Bytes that its receiver surely takes at once; sending begins with no more "
        "before their echo, and learns.",
    )


class UBootEntry(_Strict):
    """Its U-Boot, with the hush shell."""

    prompt: Pattern = Field("=> ", description="Prompt (CONFIG_SYS_PROMPT).")
    autoboot: Pattern = Field("Hit any key to stop autoboot", description="Its countdown.")
    stop_keys: Keys = Field(" ", description="What stops the countdown.")
    line_limit: LineLimit = Field(
        256, description="Longest line that it takes, bytes (CONFIG_SYS_CBSIZE)."
    )
    timeout_s: Seconds = Field(30.0, description="From reset to the prompt at most, seconds.")


class LinuxEntry(_Strict):
    """Its Linux, with a POSIX shell."""

    login: Pattern = Field(r"\S* ?login: ", description="Login prompt.")
    password: Pattern = Field("[Pp]assword: ", description="Question for the password.")
    user: str = Field("root", description="Login user.")
    default_password: str | None = Field(
        None,
        description="The published default of a vendor's image, and never one of your own: "
        "labctl asks for those.",
    )
    shell_prompt: Pattern = Field(
        r"(?:\[?[\w.-]+@[\w.-]+|[\w.-]+:|(?:ba|da)?sh-\d[\d.]*|[~/])[^\r\n]{0,80}?[#$] ",
        description="Prompt of the shell.",
    )
    commands: list[str] = Field(
        ["boot"],
        description="What U-Boot is told so that it boots Linux; [] if it does so by itself.",
    )
    timeout_s: Seconds = Field(120.0, description="From there to the login at most, seconds.")


class Sectors(_Strict):
    """Sectors of one size that follow each other."""

    count: Count = Field(description="How many.")
    size: Size = Field(description="Bytes of one.")


class Kept(_Strict):
    """A part of a region that flashing must not touch."""

    offset: Address = Field(0, description="From the beginning of the region.")
    size: Size = Field(description="Bytes.")
    what: str = Field(description="What is there, such as 'U-Boot'.")


class MemoryRegion(_Strict):
    """A region of memory or flash."""

    base: Address = Field(description="First address.")
    size: Size = Field(description="Bytes; also '4 MiB'.")
    erase_block: Size | None = Field(
        None, description="Bytes that are erased together, of flash with equal blocks."
    )
    sectors: list[Sectors] | None = Field(
        None, description="Blocks that are erased together, of flash with unequal ones."
    )
    keep: list[Kept] = Field([], description="Parts that flashing refuses to touch.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.erase_block and self.sectors:
            raise refuse("'erase_block' and 'sectors' say the same; keep one of them")
        if self.erase_block and self.size % self.erase_block:
            raise refuse(f"'size' {self.size:#x} is no multiple of {self.erase_block:#x}")
        total = sum(one.count * one.size for one in self.sectors or ())
        if self.sectors and total != self.size:
            raise refuse(f"the sectors have {total:#x} bytes together, 'size' is {self.size:#x}")
        return self


class SignalStep(_Strict):
    """One step of a pulse on the modem control outputs; true is asserted, an electrical low."""

    dtr: bool | None = Field(None, description="Data Terminal Ready; left as it is if not given.")
    rts: bool | None = Field(None, description="Request To Send; left as it is if not given.")
    seconds: Seconds | None = Field(None, description="How long it stays so.")


class ResetEntry(_Strict):
    """Ways to reset it besides its power."""

    signals: list[SignalStep] | None = Field(
        None, description="Steps on DTR and RTS after which its program starts anew."
    )
    loader: list[SignalStep] | None = Field(
        None, description="Steps on DTR and RTS after which its ROM waits for a program."
    )
    uboot: str | None = Field(None, description="Command of its U-Boot.")
    linux: str | None = Field(None, description="Command of its Linux.")
    sysrq: Keys | None = Field(
        None, description="Key after a break that resets its Linux (magic SysRq)."
    )


class FlashEntry(BaseModel):
    """A way to flash it: a method and that method's own parameters."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    to: Name = Field("flash", description="What people call the place: labctl flash --to.")
    method: Name = Field(description="Name of the method.")
    note: str | None = Field(None, description="What a person should know about it.")


class UsbEntry(_Strict):
    """A USB adapter on the board, by which 'labctl board discover' guesses the model."""

    vid: UsbNumber = Field(description="Vendor.")
    pid: UsbNumber = Field(description="Product.")
    product: Pattern | None = Field(
        None, description="What its product name begins with, where the numbers are not its own."
    )
    interface: Interface | None = Field(
        None, description="Interface of the console, where the adapter has several ports."
    )


class BoardFile(_Strict):
    """A model of a board."""

    model_config = ConfigDict(title="labctl board model")

    description: str = Field(description="What it is, in one line.")
    documentation: list[str] = Field([], description="Documents that its constants come from.")
    line: LineEntry = Field(LineEntry(), description="Its console.")
    shell: Literal["linux", "uboot", "none"] = Field(
        "linux", description="What one talks to on its console when it runs."
    )
    uboot: UBootEntry | None = Field(None, description="Its U-Boot, if it has one.")
    linux: LinuxEntry | None = Field(None, description="Its Linux, if it has one.")
    rom: list[Pattern] = Field(
        [], description="What its boot ROM, SPL and boot loader begin with: it was just reset."
    )
    panic: list[Pattern] = Field([], description="Panics besides those that all boards have.")
    architecture: Name | None = Field(
        None, description="Its processor as ELF calls it: arm, aarch64, riscv64, avr, xtensa."
    )
    chip: Name | None = Field(None, description="Its chip or family in small letters: esp32.")
    memory: dict[Name, MemoryRegion] = Field({}, description="Memory and flash, by name.")
    addresses: dict[Name, Address] = Field(
        {}, description="Where its U-Boot loads things: kernel, fdt, ramdisk."
    )
    reset: ResetEntry = Field(ResetEntry(), description="Ways to reset it besides its power.")
    power: Switched = Field({}, description="How it is switched if the inventory does not say.")
    flash: list[FlashEntry] = Field([], description="Ways to flash it, the best first.")
    usb: list[UsbEntry] = Field([], description="USB adapters on the board.")
    capabilities: list[Name] = Field([], description="What tests may ask for.")

    @model_validator(mode="after")
    def _has_its_shell(self) -> Self:
        for kind, entry in (("linux", self.linux), ("uboot", self.uboot)):
            if self.shell == kind and entry is None:
                raise refuse(
                    f"'{kind}' is missing; write '{kind}: {{}}' for what is usual, or 'shell: none'"
                )
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a board model."""
    schema = BoardFile.model_json_schema()
    for name in ("memory", "addresses"):
        # Otherwise a name that does not fit the pattern could hold anything.
        schema["properties"][name]["additionalProperties"] = False
    return {"$schema": SCHEMA_DIALECT, **schema}
