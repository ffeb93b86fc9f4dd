"""Versions of what programs are built and run with: glibc, gcc, Python, ffmpeg and its codecs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, unreadable

_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Tools:
    """Versions as numbers with dots; absent where there is no such program.

    Attributes:
        glibc: C library.
        gcc: Compiler.
        python: ``python3``.
        ffmpeg: Programme for video.
        encoders: Names of the encoders that ffmpeg was built with.
        decoders: Of its decoders.
    """

    glibc: Fact[str]
    gcc: Fact[str]
    python: Fact[str]
    ffmpeg: Fact[str]
    encoders: Fact[Sequence[str]]
    decoders: Fact[Sequence[str]]


def parse(text: str) -> Tools:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    return Tools(
        _version(found["glibc"], "getconf"),
        _version(found["gcc"], "gcc"),
        _version(found["python"], "python3"),
        _version(found["ffmpeg"], "ffmpeg"),
        _codecs(found["encoders"]),
        _codecs(found["decoders"]),
    )


def _codecs(section: Section) -> Fact[Sequence[str]]:
    # Lines such as " V....D libx264   H.264 ..." below a line of dashes; ffmpeg(1), -encoders.
    names = [
        words[1]
        for line in section.lines
        if len(words := line.split()) >= 2 and re.fullmatch(r"[VAS][A-Z.]{5}", words[0])
    ]
    return section.trouble("ffmpeg") or Known(tuple(name for name in names if name != "="))


def _version(section: Section, what: str) -> Fact[str]:
    trouble = section.trouble(what)
    if trouble:
        return trouble
    match = _VERSION.search(section.text)
    return Known(match.group()) if match else unreadable(section.text)


PROBE = Probe(
    "tools",
    """\
part glibc 5 getconf GNU_LIBC_VERSION
part gcc 5 gcc -dumpfullversion
part python 5 python3 --version
part ffmpeg 5 ffmpeg -hide_banner -version
part encoders 5 ffmpeg -hide_banner -encoders
part decoders 5 ffmpeg -hide_banner -decoders""",
    parse,
    order=70,
)
