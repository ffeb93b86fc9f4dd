"""FuseSoC's core description, CAPI2: its file sets, and cores of one tree that use each other.

Source: https://fusesoc.readthedocs.io/en/stable/ref/capi2.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labctl.fpga.readers.conditions import each

_MAX_BYTES = 1024 * 1024
# [operator]vendor:library:name[:version]; FuseSoC 2, vlnv.py.
_VLNV = re.compile(r"\s*(?P<operator>>=|<=|>|<|=|\^|~)?\s*(?P<vlnv>[^\s<>=]+)\s*")
_KINDS = {
    ".v": "verilogSource",
    ".sv": "systemVerilogSource",
    ".vhd": "vhdlSource",
    ".vhdl": "vhdlSource",
}
_SOURCES = ("verilogSource", "systemVerilogSource", "vhdlSource")


@dataclass(frozen=True)
class CoreText:
    """A .core file as it is written.

    Attributes:
        path: The file.
        vlnv: Vendor, library, name and version.
        data: All of it.
    """

    path: Path
    vlnv: tuple[str, str, str, str]
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, without vendor, library and version."""
        return self.vlnv[2]

    @property
    def description(self) -> str:
        """What it is, in one line."""
        return str(self.data.get("description") or "")

    @property
    def targets(self) -> Mapping[str, Any]:
        """Its targets."""
        return _mapping(self.data, "targets")

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters."""
        return _mapping(self.data, "parameters")


@dataclass
class _Collected:
    sources: list[Path] = field(default_factory=list)
    include: list[Path] = field(default_factory=list)
    python: list[Path] = field(default_factory=list)
    data: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Files:
    """The files of a target, what it depends on first.

    Attributes:
        sources: Verilog and VHDL.
        include: Folders of included files.
        python: Python files.
        data: Files of other kinds.
    """

    sources: tuple[Path, ...]
    include: tuple[Path, ...]
    python: tuple[Path, ...]
    data: tuple[Path, ...]

    @property
    def vhdl(self) -> bool:
        """All sources are VHDL."""
        return all(one.suffix in (".vhd", ".vhdl") for one in self.sources)


def load(path: Path) -> CoreText:
    """Return the core that ``path`` describes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not YAML, or not of CAPI2.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("it is larger than any description of a core")
    import yaml  # noqa: PLC0415 - slow to import, and most projects have no such file

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(data, Mapping) or "name" not in data:
        raise ValueError("it has no 'name'")
    return CoreText(path, _split(str(data["name"])), data)


def _split(text: str) -> tuple[str, str, str, str]:
    """Return vendor, library, name and version; a name alone has none of the others."""
    parts = text.strip().split(":")
    if len(parts) == 1:
        return "", "", parts[0].partition("-")[0], "0"
    vendor, library, name, version = (*parts, "", "", "")[:4]
    if not name or len(parts) > 4:
        raise ValueError(f"{text!r} is not vendor:library:name:version")
    return vendor, library, name, version or "0"


class Tree:
    """The cores of one tree."""

    def __init__(self, cores: list[CoreText]) -> None:
        self._cores: dict[tuple[str, str, str], list[CoreText]] = {}
        for core in cores:
            self._cores.setdefault(core.vlnv[:3], []).append(core)

    def files(self, core: CoreText, target: str, flags: Collection[str]) -> Files:
        """Return the files of a target with those of all that it depends on.

        Raises:
            ValueError: A file, a file set or a core is missing, or needs a generator.
        """
        found = _Collected()
        self._collect(core, target, flags, found, [])
        unique = (dict.fromkeys(one) for one in
                  (found.sources, found.include, found.python, found.data))  # fmt: skip
        sources, include, python, data = map(tuple, unique)
        return Files(sources, include, python, data)

    def _collect(
        self, core: CoreText, target: str, flags: Collection[str], into: _Collected,
        chain: list[CoreText],
    ) -> None:  # fmt: skip
        if core in chain:
            return  # FuseSoC refuses it; the files are there already
        told = _mapping(core.targets, target)
        if told.get("generate"):
            raise ValueError("it needs a generator, which labctl does not run; use fusesoc itself")
        sets = [one for key in ("filesets", "filesets_append")
                for one in each(told.get(key), flags)]  # fmt: skip
        if not chain and not told.get("filesets"):
            raise ValueError("it has no 'filesets'")
        for name in sets:
            if name not in _mapping(core.data, "filesets"):
                raise ValueError(f"there is no fileset {name!r} in {core.path.name}")
            fileset = _mapping(_mapping(core.data, "filesets"), name)
            # Of a core that is only used, FuseSoC takes the target 'default'.
            below = set(flags) - {"is_toplevel", f"target_{target}"}
            for wanted in each(fileset.get("depend"), flags):
                self._collect(
                    self._find(wanted), "default", {*below, "target_default"}, into, [*chain, core]
                )
            for file in _files(core, fileset, flags):
                _sort_in(file, into)

    def _find(self, wanted: str) -> CoreText:
        """Return the newest core that ``wanted`` names."""
        found = _VLNV.fullmatch(wanted)
        if found is None:
            raise ValueError(f"{wanted!r} is not the name of a core")
        vendor, library, name, version = _split(found["vlnv"])
        operator = found["operator"] or ("=" if found["vlnv"].count(":") == 3 else ">=")
        some = self._cores.get((vendor, library, name), [])
        fitting = [one for one in some if _fits(one.vlnv[3], operator, version)]
        if not fitting:
            raise ValueError(f"there is no core {wanted!r} in this tree")
        return max(fitting, key=lambda one: _version(one.vlnv[3]))


@dataclass(frozen=True)
class _File:
    path: Path
    kind: str
    included: bool
    folder: Path | None


def _files(core: CoreText, fileset: Mapping[str, Any], flags: Collection[str]) -> Iterator[_File]:
    usual = str(fileset.get("file_type") or "")
    for entry in fileset.get("files") or ():
        text, about = entry, None
        if isinstance(entry, Mapping):
            text, about = next(iter(entry.items()))
        for name in each(text, flags):
            path = Path(os.path.normpath(core.path.parent / name))
            if not path.is_file():
                raise ValueError(f"there is no file {name!r}")
            told: Mapping[str, Any] = about if isinstance(about, Mapping) else {}
            folder = told.get("include_path")
            yield _File(
                path,
                str(told.get("file_type") or usual),
                bool(told.get("is_include_file")),
                core.path.parent / str(folder) if folder else None,
            )


def _sort_in(file: _File, into: _Collected) -> None:
    kind = file.kind or _KINDS.get(file.path.suffix, "")
    if file.included:
        into.include.append(file.folder or file.path.parent)
    elif kind.startswith(_SOURCES):
        into.sources.append(file.path)
    elif file.path.suffix == ".py":
        into.python.append(file.path)
    elif kind in ("user", "mem", "") and file.path.suffix not in (".vlt", ".xdc", ".pcf", ".lpf"):
        into.data.append(file.path)


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, Mapping) else {}


def _fits(version: str, operator: str, wanted: str) -> bool:
    have, want = _version(version), _version(wanted)
    match operator:
        case "=":
            return have == want
        case ">=":
            return have >= want
        case "<=":
            return have <= want
        case ">":
            return have > want
        case "<":
            return have < want
        case "^":  # the same major version, or the same minor one below 1
            same = 1 if want[:1] != (0,) else 2
            return have >= want and have[:same] == want[:same]
        case _:  # "~": the same minor version
            return have >= want and have[:2] == want[:2]


def _version(text: str) -> tuple[int, ...]:
    """Return a version as numbers; -r1 is the revision of FuseSoC."""
    numbers = [int(one) for one in re.findall(r"\d+", text)]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
