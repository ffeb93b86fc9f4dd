"""The shape of ``boards/<model>/board.yaml``, for validation and for editors (JSON Schema)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from labctl.inventory.fields import refuse
from labctl.inventory.schema import SCHEMA_DIALECT


def _pattern(value: str) -> str:
    try:
        re.compile(value.encode())
    except re.error as error:
        raise refuse(f"'{value}' is not a regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LineEntry(_Strict):
    """How bytes are sent."""

    baud: int = Field(115200, description="Rate, baud.")
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    flow: Literal["none", "rtscts", "xonxoff"] = "none"
    dtr: bool | None = Field(None, description="Data Terminal Ready when opened; null leaves it.")
    rts: bool | None = Field(None, description="Request To Send when opened; null leaves it.")
    fifo_bytes: int = Field(16, ge=1, description="Bytes that its receiver surely takes at once.")


class UBootEntry(_Strict):
    """Its U-Boot."""

    prompt: Pattern = Field("=> ", description="Prompt; it counts at the beginning of a line.")
    autoboot: Pattern = Field("Hit any key to stop autoboot", description="Countdown.")
    stop_keys: str = Field(" ", description="What stops the countdown.")
    line_limit: int = Field(512, ge=64, description="CONFIG_SYS_CBSIZE, bytes.")
    timeout_s: float = Field(30.0, gt=0, description="From reset to the prompt, seconds.")


class LinuxEntry(_Strict):
    """Its Linux."""

    login: Pattern = Field(r"\S* ?login: ", description="Login prompt.")
    password: Pattern = Field("[Pp]assword: ", description="Question for the password.")
    user: str = Field("root", description="Login user.")
    default_password: str | None = Field(
        None, description="The public default of a vendor's image; never one of your own."
    )
    shell_prompt: Pattern = Field(
        r"(?:\[?[\w.-]+@[\w.-]+|[\w.-]+:|[~/])[^\r\n]{0,80}?[#$] ", description="Shell prompt."
    )
    commands: list[str] = Field(["boot"], description="What U-Boot is told so that it boots it.")
    timeout_s: float = Field(120.0, gt=0, description="From there to the login, seconds.")


class MemoryRegion(_Strict):
    """A region of memory or flash."""

    base: int = Field(description="First address.")
    size: int = Field(description="Bytes.")
    erase_block: int | None = Field(None, description="Bytes that are erased together.")


class UsbId(_Strict):
    """A USB id by which `labctl board discover` guesses the model."""

    vid: int
    pid: int


class BoardFile(_Strict):
    """A model of a board."""

    model_config = ConfigDict(title="labctl board model")

    description: str = Field(description="What it is, in one line.")
    documentation: list[str] = Field([], description="Where its constants come from.")
    line: LineEntry = LineEntry()
    shell: Literal["linux", "uboot", "none"] = Field("linux", description="What it talks like.")
    uboot: UBootEntry | None = None
    linux: LinuxEntry | None = None
    rom: list[Pattern] = Field([], description="Boot ROM, SPL, banners: it was just reset.")
    panic: list[Pattern] = Field([], description="Panics besides those that all boards have.")
    noise: list[Pattern] = Field([], description="Lines of its firmware in other output.")
    memory: dict[str, MemoryRegion] = Field({}, description="Memory and flash, by name.")
    addresses: dict[str, int] = Field({}, description="Load addresses: kernel, fdt, ramdisk.")
    reset: dict[str, Any] = Field({}, description="Ways to reset it besides its power.")
    power: dict[str, Any] = Field({}, description="How it is switched if nobody says otherwise.")
    flash: list[dict[str, Any]] = Field([], description="Methods to flash it, by 'method'.")
    usb: list[UsbId] = Field([], description="USB ids of its on-board adapter.")
    capabilities: list[str] = Field([], description="What tests may ask for.")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a board model."""
    return {"$schema": SCHEMA_DIALECT, **BoardFile.model_json_schema()}
