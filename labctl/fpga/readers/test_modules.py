"""The tests of a cocotb module, read from its source.

A test is an ``async def`` with ``@cocotb.test``, at the top of the module or below an ``if``,
``with`` or ``try`` there. What makes tests in other ways (``TestFactory``, loops, decorators of
one's own) only shows them when it runs; such a module is one test case without a name, and all of
its tests run together.

Source: https://docs.cocotb.org/en/v2.1.0/writing_testbenches.html#writing-tests
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from labctl.fpga.model import TestCase
from labctl.inventory.textfile import read_text

# What makes tests that only running tells.
_FACTORIES = {"TestFactory", "TestGenerator", "generate_tests"}


def read_tests(path: Path, module: str) -> tuple[TestCase, ...]:
    """Return the tests of the file ``path`` in its order.

    Args:
        path: A Python file.
        module: The name under which the simulator imports it.

    Raises:
        InventoryError: The file cannot be read as text.
        SyntaxError: It is not Python.
    """
    tree = ast.parse(read_text(path, what="a module of tests"), filename=str(path))
    whole = (TestCase(module, "", path, 1),)
    if any(_name(node) in _FACTORIES for node in ast.walk(tree)):
        return whole
    found = []
    for function in _functions(tree.body):
        marks = [_Decorator(one) for one in function.decorator_list]
        if not any(mark.is_test for mark in marks):
            continue
        names = [mark.given_name for mark in marks if mark.is_test]
        if names[0] is None:
            return whole  # its name is computed
        parametrized = any(mark.name.endswith("parametrize") for mark in marks)
        found.append(
            TestCase(module, names[0] or function.name, path, function.lineno, parametrized)
        )
    if _tests_elsewhere(tree, len(found)):
        return whole
    return tuple(found) or whole


def _functions(body: list[ast.stmt]) -> Iterator[ast.AsyncFunctionDef]:
    for node in body:
        if isinstance(node, ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.If | ast.With | ast.Try):
            yield from _functions(node.body)
            yield from _functions(getattr(node, "orelse", []))


def _tests_elsewhere(tree: ast.Module, known: int) -> bool:
    """Tell whether more functions are marked as tests than were found: in a loop, or nested."""
    marked = [
        one
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        for one in node.decorator_list[:]
        if _Decorator(one).is_test
    ]
    return len(marked) > known


class _Decorator:
    def __init__(self, node: ast.expr) -> None:
        self._call = node if isinstance(node, ast.Call) else None
        self.name = _dotted(node.func if isinstance(node, ast.Call) else node)

    @property
    def is_test(self) -> bool:
        return self.name in ("cocotb.test", "test")

    @property
    def given_name(self) -> str | None:
        """The name that the decorator gives; empty if it gives none, None if it is computed."""
        for keyword in self._call.keywords if self._call else ():
            if keyword.arg == "name":
                value = keyword.value
                constant = isinstance(value, ast.Constant) and isinstance(value.value, str)
                return str(value.value) if constant else None  # type: ignore[attr-defined]
        return ""


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return _dotted(node.func).rpartition(".")[2]
    return ""
