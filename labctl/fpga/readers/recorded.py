"""Cores from what pytest files gave to cocotb's runner, or to cocotb-test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.fpga.model import Core, Problem, TestCase, Value, Variant
from labctl.fpga.readers.test_modules import read_tests
from labctl.fpga.simulators import simulator_names
from labctl.fpga.simulators.base import is_vhdl
from labctl.inventory.diagnostics import InventoryError, shown_path
from labctl.report.sanitize import clean_line

# A test of somebody else may take its time; cocotb itself knows no limit.
_TIMEOUT_S = 600.0
# vvp(1): formats of waves, which are ours to choose; the generation is ours, too.
_OURS = {"-fst", "-none", "-vcd", "-lxt", "-lxt2", "-g2012", "-g2005-sv"}
_NOT_TAKEN = {"COCOTB_RESULTS_FILE", "COCOTB_RANDOM_SEED", "RANDOM_SEED", "COCOTB_TESTCASE",
              "TESTCASE", "COCOTB_TEST_FILTER", "MODULE", "COCOTB_TEST_MODULES", "TOPLEVEL",
              "COCOTB_TOPLEVEL"}  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """One call, in the words of `labctl.fpga.model`."""

    file: Path
    function: str
    id: str
    top: str
    modules: tuple[str, ...]
    sources: tuple[Path, ...]
    include: tuple[Path, ...]
    flags: tuple[str, ...]
    python: tuple[Path, ...]
    wanted: str
    timescale: str
    beside: Path | None
    simulator: str
    variant: Variant

    @property
    def core_key(self) -> tuple[Any, ...]:
        """What is the same for all sets of parameters of one core."""
        return (self.file, self.function, self.top, self.modules, self.sources, self.include,
                self.flags, self.python, self.wanted, self.timescale, self.beside,
                self.simulator)  # fmt: skip


def cores_of(root: Path, records: Iterable[Mapping[str, Any]]) -> Iterator[Core | Problem]:
    """Yield the cores of ``records``, as `labctl.fpga.inside.labctl_collect` wrote them."""
    groups: dict[tuple[Any, ...], list[_Call]] = {}
    for record in records:
        try:
            call = _call(root, record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            path = Path(str(record.get("file", root)))
            yield Problem(path, f"{shown_path(path)}: a call that is not understood: {error!r}")
            continue
        if call.top and call.modules and call.sources:
            groups.setdefault(call.core_key, []).append(call)
    names: dict[Path, set[str]] = {}
    for calls in groups.values():
        names.setdefault(calls[0].file.parent, set()).add(calls[0].function)
    for calls in groups.values():
        one = calls[0]
        folder = one.file.parent.relative_to(root)
        name = str(folder) if folder.parts else root.name
        if len(names[one.file.parent]) > 1:
            name = f"{name}.{one.function}"
        try:
            yield _core(name, one, tuple(_variants(calls)))
        except (SyntaxError, InventoryError) as error:
            yield Problem(one.file, f"{shown_path(one.file)}: {clean_line(str(error))}")


def _core(name: str, call: _Call, variants: tuple[Variant, ...]) -> Core:
    return Core(
        name=name,
        path=call.file,
        description="",
        top=call.top,
        sources=call.sources,
        include=call.include,
        flags=call.flags,
        variants=variants,
        tests=tuple(_tests(call)),
        python=call.python,
        timescale=call.timescale,
        timeout_s=_TIMEOUT_S,
        memory_mib=4096,
        beside=call.beside,
        simulators=(call.simulator,),
        kind="pytest_file",
    )


def _variants(calls: list[_Call]) -> Iterator[Variant]:
    taken: set[str] = set()
    for call in calls:
        name = "" if len(calls) == 1 and not call.id else re.sub(r"[^\w.,=+-]", "_", call.id)
        number, base = 2, name
        while name in taken or (not name and len(calls) > 1):
            name, number = f"{base or 'call'}.{number}", number + 1
        taken.add(name)
        one = call.variant
        yield Variant(name, one.parameters, one.defines, one.environment, one.plusargs)


def _tests(call: _Call) -> Iterator[TestCase]:
    chosen = re.compile(call.wanted) if call.wanted else None
    for module in call.modules:
        places = [one / (module.replace(".", "/") + ".py") for one in call.python]
        path = next((one for one in places if one.is_file()), None)
        # It may come from an installed package; running it will tell.
        cases = read_tests(path, module) if path else (TestCase(module, "", call.file, 1),)
        for case in cases:
            if chosen is None or not case.name or chosen.search(f"{module}.{case.name}"):
                yield case


def _call(root: Path, record: Mapping[str, Any]) -> _Call:
    given = record["options"]
    cwd = Path(record["cwd"])
    build = given.get("build", {}) if record["api"] == "cocotb_tools.runner" else given
    top = given.get("hdl_toplevel") or given.get("toplevel") or build.get("hdl_toplevel") or ""
    modules = given.get("test_module") or given.get("module") or ""
    words = _words(modules, ",")
    names = [*_files(build, "sources"), *_files(build, "vhdl_sources"),
             *_files(build, "verilog_sources")]  # fmt: skip
    sources = tuple(_absolute(cwd, name) for name in names)
    environment = {
        str(key): str(value)
        for key, value in _both(build, given, "extra_env").items()
        if str(key) not in _NOT_TAKEN
    }
    search = [*_words(given.get("python_search", ()), ","), *record["path"],
              *environment.pop("PYTHONPATH", "").split(os.pathsep)]  # fmt: skip
    python = [Path(record["file"]).parent, *(_absolute(cwd, one) for one in search if one)]
    parameters = _parameters(_both(build, given, "parameters"))
    # A test finds its parameters so with labctl, too.
    environment = {
        key: value
        for key, value in environment.items()
        if not key.startswith("PARAM_") or str(parameters.get(key[6:])) != value
    }
    arguments = [str(one) for key in ("build_args", "compile_args", "extra_args")
                 for one in _words(build.get(key, ()))]  # fmt: skip
    plus = [str(one) for key in ("plusargs", "plus_args", "test_args", "sim_args")
            for one in _words(given.get(key, ())) if str(one).startswith("+")]  # fmt: skip
    beside = given.get("test_dir") or given.get("work_dir")
    folder = _absolute(cwd, beside) if beside else None
    time = given.get("timescale") or build.get("timescale") or "1ns/1ps"
    return _Call(
        file=Path(record["file"]),
        function=str(record["function"]),
        id=str(record["id"]),
        top=str(top).rpartition(".")[2],
        modules=tuple(words),
        sources=sources,
        include=tuple(_absolute(cwd, one) for one in _words(build.get("includes", ()))),
        flags=tuple(one for one in arguments if one not in _OURS),
        python=tuple(dict.fromkeys(python)),
        wanted=_wanted(given),
        timescale=time if isinstance(time, str) else "/".join(map(str, time)),
        beside=folder if folder and folder.is_dir() and root in (folder, *folder.parents) else None,
        simulator=_simulator(str(record["simulator"]), sources),
        variant=Variant(
            "", parameters, _defines(build.get("defines") or {}), environment, tuple(plus)
        ),
    )


def _both(build: Mapping[str, Any], given: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {**(build.get(key) or {}), **(given.get(key) or {})}


def _wanted(given: Mapping[str, Any]) -> str:
    """Return what the names of the tests must match; empty for all of them."""
    if given.get("test_filter"):
        return str(given["test_filter"])
    names = _words(given.get("testcase", ()), ",")
    return rf"\.({'|'.join(map(re.escape, names))})$" if names else ""


def _simulator(asked: str, sources: Iterable[Path]) -> str:
    if asked != "icarus" and asked in simulator_names():
        return asked
    return "ghdl" if all(is_vhdl(one) for one in sources) else "icarus"


def _parameters(given: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in given.items():
        if isinstance(value, bool | int):
            found[str(name)] = int(value)
        else:
            text = str(value)
            # Taken literally there: a text stands in quotes.
            quoted = len(text) > 1 and text[0] == text[-1] == '"'
            found[str(name)] = text[1:-1] if quoted else text
    return found


def _defines(given: Any) -> dict[str, Value | None]:  # noqa: ANN401 - what JSON holds
    if isinstance(given, Mapping):
        return {str(k): None if v is None or v == "" else str(v) for k, v in given.items()}
    pairs = [str(one).partition("=") for one in given]
    return {name: value if equals else None for name, equals, value in pairs}


def _files(build: Mapping[str, Any], key: str) -> list[str]:
    found = []
    for one in build.get(key) or ():
        name = one["value"] if isinstance(one, Mapping) else str(one)
        if not name.endswith(".vlt"):  # for Verilator alone
            found.append(name)
    return found


def _words(given: Any, separator: str | None = None) -> list[str]:  # noqa: ANN401
    """Return a list, which may be written as one text."""
    if isinstance(given, str):
        return [one.strip() for one in given.split(separator) if one.strip()]
    return [str(one["value"] if isinstance(one, Mapping) else one) for one in given or ()]


def _absolute(cwd: Path, name: str) -> Path:
    return Path(os.path.normpath(cwd / name))
