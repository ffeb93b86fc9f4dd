"""Cores that are described by a ``core.yaml``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from labctl.errors import UsageError
from labctl.fpga.model import (
    Clock,
    Core,
    Problem,
    SerialPort,
    Target,
    TestCase,
    Value,
    Variant,
    Waiver,
)
from labctl.fpga.readers.test_modules import read_tests
from labctl.inventory import kept
from labctl.inventory.diagnostics import (
    Diagnostic,
    InventoryError,
    did_you_mean,
    quote,
    shown_path,
)
from labctl.inventory.textfile import read_text

if TYPE_CHECKING:
    from labctl.fpga.schema import CoreFile, TargetEntry
    from labctl.inventory.validate import Steps
    from labctl.inventory.yamlnodes import Mapping as MappingNode

FILE_NAME = "core.yaml"
ORDER, ALONE = 0, True
Complain = Callable[["Steps", str], None]
# What stands for the version of the check, while it is being worked on.
_CODE = [Path(__file__), Path(__file__).parent.parent / "schema.py"]


def claims(folder: Path, names: Collection[str]) -> list[str]:
    """Return the file that describes a core, where there is one."""
    return [FILE_NAME] if FILE_NAME in names else []


def read_all(root: Path, paths: Sequence[Path], simulator: str) -> Iterator[Core | Problem]:
    """Yield a core for each file."""
    for path in paths:
        try:
            yield read_core(path)
        except UsageError as error:
            yield Problem(path, str(error))


def read_core(path: Path) -> Core:
    """Return the core that ``path`` describes.

    Raises:
        InventoryError: The file has mistakes; carries all of them, with their places. Among them
            are sources that do not exist and modules of tests that are not Python.
    """
    text = read_text(path, what="a core")
    key = kept.key_of(str(path.absolute()), text, code=_CODE)
    return _recall(path, key) or _check(path, text, key)


def _recall(path: Path, key: str) -> Core | None:
    """Return the core from what was found right before, without what it takes to check it."""
    data = kept.recall_reading("fpga", str(path.absolute()), key)
    if data is None:
        return None
    said = cast("CoreFile", _revived(data["said"]))
    # The file is as it was; the sources and tests that it names may not be.
    missing: list[str] = []
    core = _core(path, said, lambda steps, message: missing.append(message))
    if missing:
        return None
    return replace(core, waivers=tuple(Waiver(*one) for one in data["waivers"]))


def _plain(value: object) -> object:
    """Return what JSON can hold of a value of the schema: models and mappings are told apart."""
    if isinstance(value, dict):
        return {"mapping": {key: _plain(one) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str | int | float | None):
        return value
    return {"model": {key: _plain(one) for key, one in cast("CoreFile", value)}}


def _revived(data: Any) -> Any:  # noqa: ANN401 - what JSON holds
    """Return what `_plain` was given, with plain objects in place of models."""
    if isinstance(data, list):
        return [_revived(one) for one in data]
    if not isinstance(data, dict):
        return data
    ((kind, entries),) = data.items()
    values = {key: _revived(one) for key, one in entries.items()}
    return values if kind == "mapping" else SimpleNamespace(**values)


def _check(path: Path, text: str, key: str) -> Core:
    # A quarter of a second to import.
    from pydantic import ValidationError  # noqa: PLC0415

    from labctl.fpga.schema import CoreFile  # noqa: PLC0415
    from labctl.inventory.validate import explain, locate  # noqa: PLC0415
    from labctl.inventory.yamlnodes import Mapping as MappingNode  # noqa: PLC0415
    from labctl.inventory.yamlnodes import parse  # noqa: PLC0415

    shown = shown_path(path)
    root, found = parse(text, keep_repeated=True)
    if not isinstance(root, MappingNode):
        begin = "a core is a mapping; begin with 'description: …', 'top: …' and 'sources: […]'"
        raise InventoryError(shown, found or [Diagnostic(1, 1, begin)])
    try:
        said = CoreFile.model_validate(root.value())
    except ValidationError as error:
        mistakes = explain(error, CoreFile, lambda steps, key: locate(root, steps, key=key))
        raise InventoryError(shown, [*found, *(one for one, _ in mistakes)]) from None

    def complain(steps: Steps, message: str) -> None:
        node = locate(root, steps)
        found.append(Diagnostic(node.line, node.column, message))

    core = replace(_core(path, said, complain), waivers=_waivers(said, root))
    if found:
        raise InventoryError(shown, found)
    waivers = [astuple(one) for one in core.waivers]
    data = {"said": _plain(said), "waivers": waivers}
    kept.keep_reading("fpga", str(path.absolute()), key, data)
    return core


def _core(path: Path, said: CoreFile, complain: Complain) -> Core:
    folder = path.parent
    python = _folders(folder, said.python, "python", complain)
    sources = _sources(folder, said.sources, ("sources",), complain)
    return Core(
        name=said.name or folder.absolute().name,
        path=path,
        description=said.description,
        top=said.top,
        sources=sources,
        data=_sources(folder, said.data, ("data",), complain),
        simulators=tuple(dict.fromkeys(said.simulators)),
        include=_folders(folder, said.include, "include", complain),
        defines=dict(said.defines),
        variants=variants_of(said.parameters, said.variants),
        tests=_seeded(_tests(said.tests, python, complain), said.seeded, complain),
        python=python,
        timeout_s=said.timeout_s,
        memory_mib=said.memory_mib,
        clocks=tuple(Clock(one.signal, one.mhz) for one in said.clock),
        target=_target(folder, said.target, complain),
        serial=_serial(folder, said, sources, complain),
    )


def _serial(
    folder: Path, said: CoreFile, sources: tuple[Path, ...], complain: Complain
) -> SerialPort | None:
    entry = said.bridge
    if entry is None:
        return None
    own = {key: one for key, one in said.parameters.items() if not isinstance(one, list)}
    more = _sources(folder, entry.sources, ("bridge", "sources"), complain)
    return SerialPort(
        rxd=entry.rxd,
        txd=entry.txd,
        clock=said.clock[0].signal if said.clock else "clk",
        reset=entry.reset,
        bit_cycles=entry.bit_cycles,
        top=entry.top or said.top,
        sources=(*sources, *more),
        # A module of its own has parameters of its own.
        parameters={**({} if entry.top else own), **entry.parameters},
        drive=dict(entry.drive),
    )


def _target(folder: Path, said: TargetEntry | None, complain: Complain) -> Target | None:
    if said is None:
        return None
    pins = folder / said.constraints if said.constraints else None
    if pins and not pins.is_file():
        complain(("target", "constraints"), f"there is no file {quote(said.constraints)}")
    return Target(said.family, said.device, said.package, pins, said.dsp, dict(said.parameters))


def _waivers(said: CoreFile, root: MappingNode) -> tuple[Waiver, ...]:
    from labctl.inventory.validate import locate  # noqa: PLC0415

    return tuple(
        Waiver(
            one.reason, one.tool or "", one.rule or "", one.file or "", one.message or "",
            locate(root, ("lint", "waivers", index)).line,
        )
        for index, one in enumerate(said.lint.waivers if said.lint else ())
    )  # fmt: skip


def _sources(
    folder: Path, patterns: Iterable[str], steps: Steps, complain: Complain
) -> tuple[Path, ...]:
    found: list[Path] = []
    for index, pattern in enumerate(patterns):
        try:
            files = sorted(one for one in folder.glob(pattern) if one.is_file())
        except (ValueError, NotImplementedError):
            complain((*steps, index), f"{quote(pattern)} is not a path below the core's folder")
            continue
        if not files:
            complain((*steps, index), f"there is no file {quote(pattern)} below {folder.name}/")
        found += files
    return tuple(dict.fromkeys(found))


def _folders(folder: Path, names: Iterable[str], key: str, complain: Complain) -> tuple[Path, ...]:
    found = []
    for index, name in enumerate(names):
        if not (folder / name).is_dir():
            steps = (key, index)
            complain(steps, f"there is no folder {quote(name)} in {folder.name}/")
        found.append(folder / name)
    return tuple(found)


def _tests(
    modules: list[str], python: tuple[Path, ...], complain: Complain
) -> tuple[TestCase, ...]:
    if not modules:
        files = {one.stem: one for one in sorted(python[0].glob("test_*.py"))} if python else {}
    else:
        files = {}
        for index, module in enumerate(modules):
            places = [place / (module.replace(".", "/") + ".py") for place in python]
            there = [place for place in places if place.is_file()]
            if there:
                files[module] = there[0]
            else:
                complain(("tests", index), f"there is no {quote(places[0])}; name a module there")
    found: list[TestCase] = []
    for module, path in files.items():
        try:
            found += read_tests(path, module)
        except SyntaxError as error:
            where = f"{shown_path(path)}:{error.lineno}"
            complain(("tests",), f"{where}: not Python: {error.msg}; correct it")
        except InventoryError as error:
            complain(("tests",), str(error))
    return tuple(found)


def _seeded(
    tests: tuple[TestCase, ...], names: list[str] | None, complain: Complain
) -> tuple[TestCase, ...]:
    """Mark the tests that draw at random; without names, all do."""
    if names is None:
        return tests
    known = {test.name for test in tests}
    for index, name in enumerate(names):
        if name not in known:
            complain(
                ("seeded", index), f"there is no test {quote(name)}{did_you_mean(name, known)}"
            )
    return tuple(replace(test, seeded=not test.name or test.name in names) for test in tests)


def variants_of(
    parameters: Mapping[str, Value | list[Value]], named: Mapping[str, Mapping[str, Value]]
) -> tuple[Variant, ...]:
    """Return the sets of parameters: the named ones, or every combination of the lists."""
    fixed = {key: value for key, value in parameters.items() if not isinstance(value, list)}
    if named:
        return tuple(Variant(name, {**fixed, **values}) for name, values in named.items())
    lists = {key: value for key, value in parameters.items() if isinstance(value, list)}
    found: dict[str, Variant] = {}
    for values in itertools.product(*(dict.fromkeys(one) for one in lists.values())):
        chosen = dict(zip(lists, values, strict=True))
        name = ",".join(f"{key}={_in_name(value)}" for key, value in chosen.items())
        while name in found:
            name += "_"  # two texts that look the same in a name
        found[name] = Variant(name, {**fixed, **chosen})
    return tuple(found.values())


def _in_name(value: Value) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", str(value))
