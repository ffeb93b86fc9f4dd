"""Other people's projects: FuseSoC's ``.core`` files (CAPI2) whose targets have cocotb tests.

Read are file sets with what they depend on in the same tree, and of each target the top and the
parameters. Its tests are the ``cocotb_module`` of its options; the target ``sim``, or ``default``
where there is none, has the modules ``test_*.py`` beside the file if it names none. Generators are
not run, and cores are not fetched.

Source: https://fusesoc.readthedocs.io/en/stable/ref/capi2.html
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.fpga.model import Core, Problem, TestCase, Value, Variant
from labctl.fpga.readers.capi2 import CoreText, Files, Tree, load
from labctl.fpga.readers.conditions import each
from labctl.fpga.readers.test_modules import read_tests
from labctl.fpga.simulators import simulator_names
from labctl.inventory.diagnostics import InventoryError, shown_path
from labctl.report.sanitize import clean_line

ORDER, ALONE = 2, False
_MAGIC = b"CAPI=2:"
_TIMEOUT_S = 600.0


def claims(folder: Path, names: Collection[str]) -> list[str]:
    """Return the files that are of CAPI2."""
    return [name for name in names if name.endswith(".core") and _is_capi2(folder / name)]


def _is_capi2(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_all(root: Path, paths: Sequence[Path], simulator: str) -> Iterator[Core | Problem]:
    """Yield the cores of all targets that have tests."""
    texts: list[CoreText] = []
    for path in paths:
        try:
            texts.append(load(path))
        except (OSError, ValueError) as error:
            yield Problem(path, f"{shown_path(path)}: {clean_line(str(error))}")
    tree = Tree(texts)
    for text in texts:
        found: list[Core] = []
        for target in text.targets:
            try:
                core = _core(tree, text, target)
            except (ValueError, TypeError, AttributeError, SyntaxError, InventoryError) as error:
                why = clean_line(str(error))
                yield Problem(text.path, f"{shown_path(text.path)}: target '{target}': {why}")
            else:
                found += [core] if core else []
        yield from found


def _core(tree: Tree, text: CoreText, target: str) -> Core | None:
    told = text.targets[target]
    if not isinstance(told, Mapping):
        return None
    tool, options = _tool(told)
    flags = {f"target_{target}", f"tool_{tool}", "is_toplevel", *_set(told.get("flags"))}
    modules = _modules(told, options, flags)
    named = bool(modules)
    beside = sorted(one.stem for one in text.path.parent.glob("test_*.py"))
    usual = target == ("sim" if "sim" in text.targets else "default")
    if not modules and usual:
        modules = beside
    tops = list(each(told.get("toplevel"), flags))
    if not modules or not tops:
        return None
    files = tree.files(text, target, flags)
    if not files.sources:
        raise ValueError("it has no sources in Verilog or VHDL")
    python = list(dict.fromkeys([*(one.parent for one in files.python), text.path.parent]))
    tests = _tests(text.path, modules, python)
    if not named and not any(case.name for case in tests):
        return None  # test_*.py that are no cocotb tests
    parameters, defines, plusargs = _parameters(text, told, flags)
    name = text.name if usual else f"{text.name}.{target}"
    return Core(
        name=name,
        path=text.path,
        description=clean_line(text.description),
        top=tops[0].split()[0],
        sources=files.sources,
        include=files.include,
        defines=defines,
        flags=_flags(options, flags) if tool == "icarus" else (),
        variants=(Variant("", parameters),),
        tests=tests,
        python=tuple(python),
        plusargs=plusargs,
        timeout_s=_TIMEOUT_S,
        memory_mib=4096,
        data=files.data,
        simulators=(_simulator(tool, files),),
        kind="fusesoc",
    )


def _tool(told: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the tool of a target and its options: of a flow, or of a tool as before flows."""
    flow = told.get("flow_options")
    if isinstance(flow, Mapping):
        return str(flow.get("tool") or "icarus"), flow
    tools = told.get("tools")
    known = tools if isinstance(tools, Mapping) else {}
    # Where there is a choice, one that labctl has.
    usable = [one for one in simulator_names() if one in known]
    tool = str(told.get("default_tool") or next(iter([*usable, *known]), "icarus"))
    options = known.get(tool)
    return tool, options if isinstance(options, Mapping) else {}


def _simulator(tool: str, files: Files) -> str:
    if tool in simulator_names():
        return tool
    return "ghdl" if files.vhdl else "icarus"


def _set(flags: object) -> Iterator[str]:
    for name, value in flags.items() if isinstance(flags, Mapping) else ():
        if value:
            yield str(name)


def _modules(
    told: Mapping[str, Any], options: Mapping[str, Any], flags: Collection[str]
) -> list[str]:
    given = options.get("cocotb_module") or told.get("cocotb_module")
    return [one for text in each(given, flags) for one in text.replace(",", " ").split()]


def _flags(options: Mapping[str, Any], flags: Collection[str]) -> tuple[str, ...]:
    words = [one for text in each(options.get("iverilog_options"), flags) for one in text.split()]
    return tuple(one for one in words if one != "-g2012")


def _parameters(
    text: CoreText, told: Mapping[str, Any], flags: Collection[str]
) -> tuple[dict[str, Value], dict[str, Value | None], tuple[str, ...]]:
    """Return the parameters of the top, the macros, and the arguments of the simulation."""
    parameters: dict[str, Value] = {}
    defines: dict[str, Value | None] = {}
    plusargs: list[str] = []
    for entry in each(told.get("parameters"), flags):
        name, equals, said = entry.partition("=")
        about = text.parameters.get(name)
        if not isinstance(about, Mapping):
            raise ValueError(f"there is no parameter {name!r}")  # noqa: TRY004 - of the file
        value = said if equals else about.get("default")
        if value is None:
            continue  # the design's own
        typed = _typed(value, str(about.get("datatype", "str")))
        match about.get("paramtype"):
            case "vlogparam" | "generic":
                parameters[name] = typed
            case "vlogdefine":
                # A macro that is a truth value is there or not.
                truth = about.get("datatype") == "bool"
                if not truth or typed:
                    defines[name] = None if truth else typed
            case "plusarg":
                plusargs.append(f"+{name}={typed}")
    return parameters, defines, tuple(plusargs)


def _typed(value: object, kind: str) -> Value:
    text = str(value).strip()
    if kind == "bool":
        return int(text.lower() in ("true", "1", "yes", "on"))
    if kind == "int":
        return int(text, 0)
    return text


def _tests(path: Path, modules: list[str], python: list[Path]) -> tuple[TestCase, ...]:
    found: list[TestCase] = []
    for module in modules:
        places = [one / (module.replace(".", os.sep) + ".py") for one in python]
        file = next((one for one in places if one.is_file()), None)
        # It may come from an installed package; running it will tell.
        found += read_tests(file, module) if file else (TestCase(module, "", path, 1),)
    return tuple(found)
