"""A plug-in of pytest that notes how tests would start simulations, and starts none.

pytest runs in a child of labctl with this plug-in. What the tests give to ``cocotb_tools.runner``
(https://docs.cocotb.org/en/v2.1.0/runner.html) and to ``cocotb_test.simulator.run``
(https://github.com/themperek/cocotb-test) goes to the file ``LABCTL_RECORDS``, one JSON object on
each line. It needs pytest and the standard library only.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

_BEFORE = set(sys.path)
# What a test may look at after a run: one test that passed.
_RESULTS = '<testsuites><testsuite><testcase classname="c" name="n"/></testsuite></testsuites>'
_now: dict[str, Any] = {}
_seen: set[str] = set()


def _write(**record: object) -> None:
    with Path(os.environ["LABCTL_RECORDS"]).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record, default=_plain) + "\n")


def _plain(value: object) -> object:
    # Verilog("x.v"), VHDL("x.vhd"): tags of cocotb_tools.runner.
    inner = getattr(value, "value", None)
    if isinstance(inner, str | os.PathLike):
        return {"tag": type(value).__name__, "value": os.fspath(inner)}
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def _record(api: str, simulator: str, options: Mapping[str, Any]) -> None:
    _seen.add(_now.get("file", ""))
    _write(
        **_now,
        api=api,
        simulator=simulator,
        options={key: value for key, value in options.items() if value is not None},
        cwd=os.getcwd(),  # noqa: PTH109
        path=[one for one in sys.path if one not in _BEFORE],
    )


class _Runner:
    """Stands in for a runner of cocotb."""

    def __init__(self, simulator: str) -> None:
        self.simulator = simulator
        self.build_dir = Path(tempfile.gettempdir())
        self.env: dict[str, str] = {}
        self._built: dict[str, Any] = {}

    def build(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._built = _by_name("build", arguments, options)

    def test(self, *arguments: Any, **options: Any) -> Path:  # noqa: ANN401
        given = _by_name("test", arguments, options)
        given["build"] = self._built
        _record("cocotb_tools.runner", self.simulator, given)
        return _results()


def _by_name(method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    names = list(_SIGNATURES[method])[1:]
    return {**dict(zip(names, arguments, strict=False)), **options}


def _results() -> Path:
    handle, name = tempfile.mkstemp(suffix=".xml", dir=Path(os.environ["LABCTL_RECORDS"]).parent)
    with os.fdopen(handle, "w") as stream:
        stream.write(_RESULTS)
    return Path(name)


def _run(*arguments: Any, simulator: Any = None, **options: Any) -> str:  # noqa: ANN401
    names = ("toplevel", "module")
    given = {**dict(zip(names, arguments, strict=False)), **options}
    name = getattr(simulator, "__name__", None) or simulator or os.environ.get("SIM", "icarus")
    _record("cocotb_test", str(name).lower(), given)
    return str(_results())


class _Simulator:
    """Stands in for a class of cocotb_test.simulator."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._arguments, self._options = arguments, options

    def run(self) -> str:
        return _run(*self._arguments, simulator=type(self).__name__, **self._options)


def _stand_in() -> dict[str, Any]:
    """Put what records in the place of what runs; return the signatures of a runner."""
    from cocotb_tools import runner  # noqa: PLC0415

    signatures = {
        name: inspect.signature(getattr(runner.Runner, name)).parameters
        for name in ("build", "test")
    }
    for name in ("Icarus", "Verilator", "Ghdl", "Nvc", "Questa", "Riviera", "Xcelium", "Vcs"):
        if hasattr(runner, name):
            setattr(runner, name, partial(_Runner, name.lower()))
    runner.get_runner = _Runner  # type: ignore[assignment]
    runner.get_results = lambda path: (1, 0)  # type: ignore[attr-defined, assignment]
    runner.check_results_file = lambda path: None  # type: ignore[attr-defined]
    sys.modules["cocotb.runner"] = runner  # its name in cocotb 1.8 and 1.9
    import cocotb  # noqa: PLC0415

    for old, value in (("SIM_NAME", None), ("runner", runner)):  # names of cocotb 1
        if not hasattr(cocotb, old):
            setattr(cocotb, old, value)
    package, module = types.ModuleType("cocotb_test"), types.ModuleType("cocotb_test.simulator")
    module.run = _run  # type: ignore[attr-defined]
    for name in ("Simulator", "Icarus", "Verilator", "Ghdl", "Nvc", "Questa", "Ius", "Xcelium",
                 "Vcs", "Riviera"):  # fmt: skip
        setattr(module, name, type(name, (_Simulator,), {}))
    package.simulator = module  # type: ignore[attr-defined]
    sys.modules.update({"cocotb_test": package, "cocotb_test.simulator": module})
    return signatures


_SIGNATURES = _stand_in()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note which test runs."""
    call = getattr(item, "callspec", None)
    _now.update(
        file=str(item.path),
        function=getattr(item, "originalname", None) or item.name,
        id=call.id if call else "",
        line=(item.location[1] or 0) + 1,
    )
    yield
    _now.clear()


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Tell of a file that cannot be collected."""
    if report.failed:
        _write(trouble=_last(report.longreprtext), node=report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell of a test that failed before it came to a simulation."""
    if report.failed:
        _write(trouble=_last(report.longreprtext), node=report.nodeid)


def _last(text: str) -> str:
    """Return the line of a report that says what went wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (errors or lines or ["it fails"])[-1]
