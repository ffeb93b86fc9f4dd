"""The shape of ``fpga/<core>/core.yaml``, for validation and for editors (JSON Schema)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from labctl.fpga.simulators import simulator_names
from labctl.inventory.diagnostics import quote
from labctl.inventory.fields import FilePath, Name, refuse
from labctl.inventory.schema import SCHEMA_DIALECT

# More sets of parameters than this are a mistake: each one is a build.
MAX_VARIANTS = 256
# IEEE 1364-2005, 3.7.1: a simple identifier; no limit below 1024 characters is allowed.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}")


def _identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value):
        raise refuse(f"{quote(value)} is not a Verilog name; use letters, digits, '_' and '$'")
    return value


def _module(value: str) -> str:
    if not all(part.isidentifier() for part in value.split(".")):
        raise refuse(f"{quote(value)} is not a Python module; write one such as 'test_fifo'")
    return value


def _parameter(value: int | str) -> int | str:
    # It becomes a part of names of tests, of arguments and of folders.
    if isinstance(value, str) and not re.fullmatch(r"[ -~]{0,200}", value):
        raise refuse("a text of a parameter must be printable ASCII, at most 200 characters")
    return value


def _simulator(value: str) -> str:
    if value not in simulator_names():
        known = ", ".join(simulator_names())
        raise refuse(f"{quote(value)} is not a simulator that labctl can use; write one of {known}")
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
PythonModule = Annotated[str, AfterValidator(_module)]
Parameter = Annotated[int | str, AfterValidator(_parameter)]
Simulator = Annotated[str, AfterValidator(_simulator)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClockEntry(_Strict):
    """Its clock."""

    signal: Identifier = Field("clk", description="Port of the clock.")
    mhz: float = Field(12.0, gt=0, le=10_000, description="Frequency that it must reach, MHz.")


def _listed(value: object) -> object:
    return [] if value is None else [value] if isinstance(value, dict) else value


# Not a union: what is wrong in it would be told once for each of its kinds.
OneOrMore = Annotated[list[ClockEntry], BeforeValidator(_listed)]


def _one_or_more(schema: dict[str, Any]) -> None:
    """Let editors take a mapping where there is one clock."""
    several = {"type": schema.pop("type"), "items": schema.pop("items")}
    schema["anyOf"] = [several["items"], several]


class TargetEntry(_Strict):
    """The FPGA that it is made for."""

    family: Literal["ice40", "ecp5"] = Field("ice40", description="Family.")
    device: Name = Field("up5k", description="Device, as its place-and-route tool names it.")
    package: Name = Field("sg48", description="Package.")
    constraints: FilePath | None = Field(
        None,
        description="File of pins (.pcf, .lpf). Without one the core is a part of a design: its "
        "clock is measured between registers, and it has no bitstream.",
    )
    dsp: bool = Field(False, description="Products may take DSP blocks.")
    parameters: dict[Identifier, Parameter] = Field(
        {}, description="Parameters of the top on the FPGA; its defaults where nothing is said."
    )


class WaiverEntry(_Strict):
    """What a linter may say. It applies where all that it names is so; '*' and '?' work."""

    reason: str = Field(min_length=1, description="Why it is no mistake.")
    tool: Literal["icarus", "verilator", "verible", "yosys"] | None = Field(
        None, description="Linter; any if not given."
    )
    rule: str | None = Field(None, description="Its rule, such as UNUSED.")
    file: str | None = Field(None, description="File, relative to this one, such as rtl/a.v.")
    message: str | None = Field(None, description="Its message.")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.rule or self.message):
            raise refuse("it would waive all that is said; name a 'rule', a 'message', or both")
        return self


class LintEntry(_Strict):
    """What linters are told."""

    waivers: list[WaiverEntry] = Field([], description="What they may say.")


class BridgeEntry(_Strict):
    """Its serial line, for ``labctl fpga bridge``."""

    rxd: Identifier = Field("rxd", description="Port that receives, idle high.")
    txd: Identifier = Field("txd", description="Port that sends, idle high.")
    reset: Identifier | None = Field("rst", description="Port of the synchronous reset, if any.")
    bit_cycles: int = Field(ge=4, le=65536, description="Cycles of a bit with the values below.")
    top: Identifier | None = Field(None, description="Module to run, if it is not the core's top.")
    sources: list[FilePath] = Field([], description="Verilog files of that module.")
    parameters: dict[Identifier, Parameter] = Field(
        {}, description="Parameters of it, laid over those of the core that are no lists."
    )
    drive: dict[Identifier, int] = Field({}, description="Values of further inputs.")


class CoreFile(_Strict):
    """A core: its RTL, its parameters, its tests."""

    model_config = ConfigDict(title="labctl FPGA core")

    name: Name | None = Field(None, description="Its name; that of its folder if not given.")
    description: str = Field(description="What it is, in one line.")
    top: Identifier = Field(description="Module that is simulated.")
    sources: list[FilePath] = Field(
        min_length=1,
        description="Verilog or VHDL files below the core's folder; '*' and '**' work.",
    )
    data: list[FilePath] = Field(
        [], description="Files that the design reads as it runs, where no source has their name."
    )
    include: list[FilePath] = Field([], description="Folders that `include looks in.")
    defines: dict[Identifier, Parameter] = Field({}, description="Macros, with their values.")
    parameters: dict[Identifier, Parameter | list[Parameter]] = Field(
        {}, description="Parameters of the top: a value, or a list of which each is tested."
    )
    variants: dict[Name, dict[Identifier, Parameter]] = Field(
        {},
        description="Named sets of parameters to test, where not every combination of the lists "
        "makes sense; each is laid over 'parameters'.",
    )
    tests: list[PythonModule] = Field(
        [], description="Modules of tests; every test_*.py in the 'python' folders if not given."
    )
    python: list[FilePath] = Field(
        ["tb"], description="Folders from which Python imports the tests; the first has them."
    )
    clock: OneOrMore = Field(
        [], description="Its clock, or a list of them.", json_schema_extra=_one_or_more
    )
    seeded: list[str] | None = Field(
        None,
        description="Tests that draw at random; the others run once, whatever number of seeds is "
        "asked for. All are, if not given.",
    )
    simulators: list[Simulator] = Field(
        ["icarus"], min_length=1, description="Simulators that it works in, the usual one first."
    )
    timeout_s: float = Field(
        120.0, gt=0, le=86_400, description="Wall-clock seconds that one test may take."
    )
    memory_mib: int = Field(
        2048, ge=64, description="Memory that one simulation may take, MiB of address space."
    )
    target: TargetEntry | None = Field(None, description="The FPGA that it is made for.")
    lint: LintEntry | None = Field(None, description="What linters are told.")
    bridge: BridgeEntry | None = Field(None, description="Its serial line, where it has one.")

    @model_validator(mode="after")
    def _few_variants(self) -> Self:
        lists = [one for one in self.parameters.values() if isinstance(one, list)]
        if any(not one for one in lists):
            raise refuse("a parameter with an empty list of values; write one value, or remove it")
        if self.variants and lists:
            raise refuse(
                "lists in 'parameters' and 'variants' both name sets to test; keep one of them"
            )
        count = 1
        for one in lists:
            count *= len(one)
        if max(count, len(self.variants)) > MAX_VARIANTS:
            raise refuse(
                f"{count} sets of parameters, and each is a build; write at most {MAX_VARIANTS}, "
                "by naming them under 'variants'"
            )
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a core."""
    return {"$schema": SCHEMA_DIALECT, **CoreFile.model_json_schema()}
