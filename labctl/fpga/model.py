"""What there is to verify: projects of cores, with the sets of parameters and the tests of each.

Plain data. The readers in `labctl.fpga.readers` make it from files, without a simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Value = int | str


@dataclass(frozen=True)
class Variant:
    """A core with one set of parameters: what is built.

    Attributes:
        name: ``WIDTH=8,DEPTH=4``, or the name that its file gives it; empty where there is one.
        parameters: Parameters of the top module.
        defines: Macros, besides those of the core.
        environment: Variables that the tests expect, besides those of the core.
        plusargs: Arguments of the simulation, besides those of the core.
    """

    name: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    defines: Mapping[str, Value | None] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    plusargs: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestCase:
    """A test as its source shows it.

    Attributes:
        module: Python module, as the simulator imports it.
        name: Function; empty stands for a module whose tests only running it can tell.
        path: File.
        line: Line of the function, from 1.
        parametrized: It stands for several tests, one for each set of arguments.
        seeded: It draws at random, so that another seed is another run.
    """

    __test__ = False  # not a test of pytest, whatever its name

    module: str
    name: str
    path: Path
    line: int
    parametrized: bool = False
    seeded: bool = True

    @property
    def label(self) -> str:
        """How people name it: ``module.function``."""
        return f"{self.module}.{self.name}" if self.name else f"{self.module}.*"


@dataclass(frozen=True)
class Clock:
    """A clock and what it must reach.

    Attributes:
        signal: Port of the top.
        mhz: Frequency, MHz.
    """

    signal: str
    mhz: float


@dataclass(frozen=True)
class Target:
    """The FPGA that a core is made for.

    Attributes:
        family: ``ice40`` or ``ecp5``.
        device: As its place-and-route tool names it.
        package: Likewise.
        constraints: File of pins; None for a core that is a part of a design.
        dsp: Products may take DSP blocks.
        parameters: Those of the top, on the FPGA; its defaults where nothing is said.
    """

    family: str = "ice40"
    device: str = "up5k"
    package: str = "sg48"
    constraints: Path | None = None
    dsp: bool = False
    parameters: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiver:
    """What a linter may say of a core.

    Attributes:
        reason: Why.
        tool: Linter; empty for any.
        rule: Its rule; empty for any. ``*`` and ``?`` stand for other characters, here and below.
        file: Path, relative to the core's folder; empty for any.
        message: Its message; empty for any.
        line: Line of the core's file, from 1.
    """

    reason: str
    tool: str = ""
    rule: str = ""
    file: str = ""
    message: str = ""
    line: int = 1


@dataclass(frozen=True)
class SerialPort:
    """The serial line of a core: 8 data bits, no parity, one stop bit, idle high.

    Attributes:
        rxd: Port that receives.
        txd: Port that sends.
        clock: Port of the clock.
        reset: Port of the synchronous reset, or None.
        bit_cycles: Cycles of a bit.
        top: Module that has these ports.
        sources: All Verilog files of that module.
        parameters: Its parameters.
        drive: Values of further inputs.
    """

    rxd: str
    txd: str
    clock: str
    reset: str | None
    bit_cycles: int
    top: str
    sources: tuple[Path, ...]
    parameters: Mapping[str, Value] = field(default_factory=dict)
    drive: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Core:
    """A design with its tests.

    Attributes:
        name: Unique in its project.
        path: The file that describes it.
        description: One line; may be empty.
        top: Module that is simulated.
        sources: Verilog or VHDL files, in the order in which they are compiled.
        include: Folders of `` `include``.
        defines: Macros; None is one without a value.
        flags: Further arguments of the compiler.
        variants: Sets of parameters; at least one.
        tests: What there is to run, in file order.
        python: Folders from which the tests are imported.
        environment: Variables that the tests expect.
        plusargs: Arguments of the simulation.
        timeout_s: Wall-clock seconds that one job may take.
        memory_mib: Address space that one job may take, MiB.
        timescale: Unit and precision of time where the sources do not say.
        beside: Folder whose files a run finds in its working directory, or None.
        data: Files that the design reads as it runs, where the sources do not name them.
        simulators: Those that it works in; it is run in the first.
        kind: The kind of file: the name of its module in `labctl.fpga.readers`.
        clocks: Its clocks, as its file says.
        target: The FPGA that it is made for, or None.
        waivers: What linters may say of it.
        serial: Its serial line, or None.
    """

    name: str
    path: Path
    description: str
    top: str
    sources: tuple[Path, ...]
    include: tuple[Path, ...] = ()
    defines: Mapping[str, Value | None] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = (Variant(),)
    tests: tuple[TestCase, ...] = ()
    python: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    plusargs: tuple[str, ...] = ()
    timeout_s: float = 120.0
    memory_mib: int = 2048
    timescale: str = "1ns/1ps"
    beside: Path | None = None
    data: tuple[Path, ...] = ()
    simulators: tuple[str, ...] = ("icarus",)
    kind: str = "core"
    clocks: tuple[Clock, ...] = ()
    target: Target | None = None
    waivers: tuple[Waiver, ...] = ()
    serial: SerialPort | None = None


@dataclass(frozen=True)
class Problem:
    """Something in a project that could not be read; the rest of it can be used.

    Attributes:
        path: The file.
        message: What is wrong with it, one line for each mistake.
    """

    path: Path
    message: str


@dataclass(frozen=True)
class Project:
    """A folder with cores in it.

    Attributes:
        root: The folder.
        cores: Its cores by name.
        problems: What could not be read.
    """

    root: Path
    cores: tuple[Core, ...]
    problems: tuple[Problem, ...] = ()
