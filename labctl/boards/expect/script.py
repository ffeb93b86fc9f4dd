"""Scripts for ``labctl board expect``: read, checked, and turned into steps.

Every mistake is named as ``file:line:column``, also one that only shows when steps are looked at
together: a variable that no step before captures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labctl.boards.expect.schema import ACTIONS, ScriptFile
from labctl.boards.expect.words import compile_pattern, variables
from labctl.errors import ExitCode
from labctl.inventory.diagnostics import Diagnostic, InventoryError, did_you_mean, quote, shown_path
from labctl.inventory.textfile import read_text
from labctl.inventory.validate import Steps, explain, locate
from labctl.inventory.yamlnodes import Mapping, Node, parse
from labctl.inventory.yamlnodes import Sequence as SequenceNode


class ScriptError(InventoryError):
    """A script has mistakes; carries every one of them."""

    exit_code = ExitCode.USAGE

    def __init__(self, path: str, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(path, diagnostics)
        self.action = "correct the lines named above; 'labctl board expect --check' reads it again"


@dataclass(frozen=True)
class Alternative:
    """Something that may come.

    Attributes:
        text: What it looks like, as the file has it.
        pattern: The same, as it is searched for.
        capture: Its named groups that are kept.
        then: What follows.
    """

    text: str
    pattern: re.Pattern[bytes]
    capture: tuple[str, ...] = ()
    then: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        line: Its line in the file, from 1.
        action: One of `schema.ACTIONS`, or ``timeout``.
        text: What to type, run, switch or say; as the file has it.
        alternatives: What to wait for.
        timeout_s: How long it may take, seconds; None: as the steps before.
        seconds: Of a break.
        shell: Where a command runs: ``linux``, ``uboot`` or wherever the board is.
        exit_code: What the command must end with.
        match: What the command must print, as the file has it.
        pattern: The same, as it is searched for, or None.
        capture: Named groups of ``pattern`` that are kept.
    """

    line: int
    action: str
    text: str = ""
    alternatives: tuple[Alternative, ...] = ()
    timeout_s: float | None = None
    seconds: float = 0.0
    shell: str | None = None
    exit_code: int = 0
    match: str = ""
    pattern: re.Pattern[bytes] | None = None
    capture: tuple[str, ...] = ()


@dataclass(frozen=True)
class Script:
    """A checked script.

    Attributes:
        name: The file as it is shown.
        steps: What to do.
        timeout_s: How long a step may take that does not say, seconds.
        fail_on: What ends it whenever it comes: as the file has it, and as it is searched for.
        description: What it is for, or empty.
    """

    name: str
    steps: tuple[Step, ...]
    timeout_s: float = 30.0
    fail_on: tuple[tuple[str, re.Pattern[bytes]], ...] = ()
    description: str = field(default="", compare=False)

    def secrets(self) -> list[str]:
        """Return the names of the passwords that it types, in the order of the file."""
        return list(dict.fromkeys(one.text for one in _all(self.steps) if one.action == "secret"))


def load_script(path: Path) -> Script:
    """Read and check the script ``path``.

    Raises:
        ScriptError: It cannot be read, or has mistakes; carries all of them.
    """
    try:
        text = read_text(path, what="a script")
    except InventoryError as error:
        raise ScriptError(error.thing, error.diagnostics) from None
    return parse_script(text, shown_path(path))


def parse_script(text: str, name: str) -> Script:
    """Return the script that ``text`` is.

    Args:
        text: Content of the file.
        name: The file as messages name it.

    Raises:
        ScriptError: It has mistakes; carries all of them.
    """
    root, found = parse(text)
    if not isinstance(root, Mapping):
        if root is None and found:
            raise ScriptError(name, found)
        raise ScriptError(
            name,
            [*found, Diagnostic(1, 1, "a script is a mapping; write 'steps:' and '- expect: …'")],
        )
    try:
        file = ScriptFile.model_validate(root.value())
    except ValidationError as error:

        def find(steps: Steps, key: bool) -> Node:
            return locate(root, steps, key=key)

        mistakes = [diagnostic for diagnostic, _ in explain(error, ScriptFile, find)]
        raise ScriptError(name, [*found, *mistakes]) from None
    nodes = root.entries["steps"][1]
    steps = _steps(file.steps, nodes)
    found += list(_unknown_variables(steps, set(), nodes))
    if found:
        raise ScriptError(name, found)
    return Script(
        name,
        steps,
        file.timeout,
        tuple((one, compile_pattern(one)) for one in file.fail_on),
        file.description or "",
    )


def _steps(entries: Sequence[Any], node: Node) -> tuple[Step, ...]:
    items = node.items if isinstance(node, SequenceNode) else []
    return tuple(_step(entry, item) for entry, item in zip(entries, items, strict=True))


def _step(entry: Any, node: Node) -> Step:  # noqa: ANN401 - a checked step of the schema
    said = {name: getattr(entry, f"{name}_" if name == "break" else name) for name in ACTIONS}
    action = next((name for name, value in said.items() if value is not None), "timeout")
    value = said.get(action)
    return Step(
        line=node.line,
        action=action,
        text=value if isinstance(value, str) else "",
        alternatives=_alternatives(entry, node) if action == "expect" else (),
        timeout_s=entry.timeout,
        seconds=entry.break_ or 0.0,
        shell=entry.in_,
        exit_code=entry.exit_code or 0,
        match=entry.match or "",
        pattern=compile_pattern(entry.match, whole=True) if entry.match else None,
        capture=tuple(entry.capture),
    )


def _alternatives(entry: Any, node: Node) -> tuple[Alternative, ...]:  # noqa: ANN401 - likewise
    return tuple(
        Alternative(
            one.match,
            compile_pattern(one.match),
            tuple(dict.fromkeys((*entry.capture, *one.capture))),
            _steps(one.then, locate(node, ["expect", at, "then"])),
        )
        for at, one in enumerate(entry.expect)
    )


def _all(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        for one in step.alternatives:
            yield from _all(one.then)


def _unknown_variables(steps: Sequence[Step], known: set[str], node: Node) -> Iterator[Diagnostic]:
    """Yield the mistakes of variables that no step before can have captured; adds to ``known``."""
    items = node.items if isinstance(node, SequenceNode) else []
    for step, item in zip(steps, items, strict=True):
        if step.action in ("send", "sendline", "fail"):
            for name in variables(step.text):
                if name not in known:
                    place = locate(item, [step.action])
                    hint = did_you_mean(name, known) or (
                        f"; write '$${{{name}}}' to send it as it is, or capture it before"
                    )
                    yield Diagnostic(
                        place.line, place.column, f"nothing captures {quote(name)} before{hint}"
                    )
        known |= set(step.capture)
        branches = []
        for at, one in enumerate(step.alternatives):
            branch = known | set(one.capture)
            yield from _unknown_variables(one.then, branch, locate(item, ["expect", at, "then"]))
            branches.append(branch)
        for branch in branches:
            known |= branch
