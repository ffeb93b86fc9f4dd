"""The language of rules: expressions over facts that are true, false, or cannot be said.

A subset of Python's expressions: names, attributes, comparisons, ``and``, ``or``, ``not``,
arithmetic, literals, and the functions in `FUNCTIONS`. They are read by Python's own parser and
computed here, node by node, so that a file of rules can do nothing but compare.

A fact without a value makes what is computed with it unknown, as in Kleene's logic of three values:
``unknown and False`` is false, ``unknown or True`` is true, everything else stays unknown. So a
rule never fires on what is not known, and never says that all is well either.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from labctl.facts.value import Known, Unknown, absent

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class ExpressionError(Exception):
    """An expression that is not one, or that asks for what no fact has."""


def _known(value: object) -> bool:
    return not isinstance(value, Unknown)


def _reason(value: object) -> str:
    return str(value.reason) if isinstance(value, Unknown) else ""


# These see a fact as it is, with or without a value; the others only values.
_OF_FACTS: Mapping[str, Callable[[object], object]] = {"known": _known, "reason": _reason}
FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "len": len,
    "abs": abs,
    "max": max,
    "min": min,
    "version": lambda text: [int(part) for part in re.findall(r"\d+", str(text))],
    "startswith": lambda text, start: str(text).startswith(start),
}


@dataclass(frozen=True)
class Expression:
    """An expression, parsed and found to use only what the language has."""

    text: str
    tree: ast.expr

    def value(self, names: Mapping[str, object]) -> object:
        """Return its value; `Unknown` where it cannot be said.

        Args:
            names: What the names in it stand for; functions among them may be called.

        Raises:
            ExpressionError: It asks for a name or an attribute that does not exist, or compares
                what cannot be compared.
        """
        try:
            return _compute(self.tree, names)
        except (TypeError, ZeroDivisionError) as error:
            raise ExpressionError(f"{self.text!r}: {error}") from error


def compile_expression(text: str) -> Expression:
    """Return ``text`` as an expression.

    Raises:
        ExpressionError: It is not one, or uses more than the language has.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text!r} is not an expression: {error}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ExpressionError(f"{text!r}: rules cannot use {type(node).__name__}")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise ExpressionError(f"{text!r}: no attribute begins with _")
        if isinstance(node, ast.Call) and (node.keywords or not isinstance(node.func, ast.Name)):
            raise ExpressionError(f"{text!r}: only functions of rules can be called")
    return Expression(text, tree)


_ALLOWED = (
    ast.Name,
    ast.Load,
    ast.Attribute,
    ast.Constant,
    ast.Compare,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.BinOp,
    ast.Call,
    ast.List,
    ast.Tuple,
    *_COMPARE,
    *_ARITHMETIC,
)


def _compute(node: ast.expr, names: Mapping[str, object]) -> object:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name(id=name):
            if name not in names:
                raise ExpressionError(f"there is no {name!r}")
            return _open(names[name])
        case ast.Attribute(value=inner, attr=name):
            return _attribute(_compute(inner, names), name)
        case ast.BoolOp(op=op, values=parts):
            return _logic(parts, names, decides=isinstance(op, ast.Or))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            value = _compute(inner, names)
            return value if isinstance(value, Unknown) else not value
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            number: Any = _compute(inner, names)
            return number if isinstance(number, Unknown) else -number
        case ast.BinOp(left=left, op=op, right=right):
            pair = [_compute(left, names), _compute(right, names)]
            return _first_unknown(pair) or _ARITHMETIC[type(op)](*pair)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            return _compare(left, ops, rest, names)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            values = [_compute(part, names) for part in parts]
            return _first_unknown(values) or values
        case ast.Call(func=ast.Name(id=name), args=arguments):
            values = [_compute(argument, names) for argument in arguments]
            if name in _OF_FACTS:
                # A machine that did not answer at all has not said "timed out" of its driver.
                whole = _root(arguments[0], names) if arguments else None
                return whole if isinstance(whole, Unknown) else _OF_FACTS[name](*values)
            function = FUNCTIONS.get(name) or names.get(name)
            if not callable(function):
                raise ExpressionError(f"there is no function {name!r}")
            return _first_unknown(values) or function(*values)
    raise ExpressionError(f"rules cannot use {type(node).__name__}")


def _root(node: ast.expr, names: Mapping[str, object]) -> object:
    """Return what ``a`` is in ``a.b.c``; None where there is no attribute."""
    if not isinstance(node, ast.Attribute):
        return None
    inner = node.value
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return names.get(inner.id) if isinstance(inner, ast.Name) else None


def _open(value: object) -> object:
    return value.value if isinstance(value, Known) else value


def _attribute(thing: object, name: str) -> object:
    if isinstance(thing, Unknown):
        return thing
    if isinstance(thing, Mapping):
        return _open(thing.get(name, absent(f"no {name}")))
    try:
        return _open(getattr(thing, name))
    except AttributeError:
        raise ExpressionError(f"{type(thing).__name__} has no {name!r}") from None


def _first_unknown(values: list[object]) -> Unknown | None:
    return next((value for value in values if isinstance(value, Unknown)), None)


def _logic(parts: list[ast.expr], names: Mapping[str, object], *, decides: bool) -> object:
    """Return ``and`` (what decides is False) or ``or`` (True) of all parts."""
    unknown: Unknown | None = None
    for part in parts:
        value = _compute(part, names)
        if isinstance(value, Unknown):
            unknown = unknown or value
        elif bool(value) is decides:
            return decides
    return unknown if unknown is not None else not decides


def _compare(
    left: ast.expr, ops: list[ast.cmpop], rest: list[ast.expr], names: Mapping[str, object]
) -> object:
    before = _compute(left, names)
    unknown: Unknown | None = None
    for op, part in zip(ops, rest, strict=True):
        after = _compute(part, names)
        missing = _first_unknown([before, after])
        if missing:
            unknown = unknown or missing
        elif not _COMPARE[type(op)](before, after):
            return False
        before = after
    return unknown if unknown is not None else True
