"""The shape of a script for ``labctl board expect``, for validation."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from labctl.boards.expect.words import VARIABLE, compile_pattern, unknown_escape
from labctl.boards.model_fields import Seconds
from labctl.inventory.diagnostics import quote
from labctl.inventory.fields import refuse

# What a step can do, and the keys that may stand beside it.
ACTIONS = {
    "expect": ("timeout", "capture"),
    "send": (),
    "sendline": (),
    "control": (),
    "break": (),
    "run": ("timeout", "capture", "in", "exit_code", "match"),
    "power": (),
    "secret": (),
    "fail": (),
}
_BREAK_S = 0.25
# The owner of a line holds a break no longer.
_MOST_BREAK_S = 2.0


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


def _pattern(value: str) -> str:
    try:
        compiled = compile_pattern(value)
    except re.error as error:
        raise refuse(
            f"{quote(value)} is not a regular expression: {error}; "
            "write '\\' before a special character that stands for itself"
        ) from None
    if compiled.search(b"\n"):
        raise refuse(
            f"{quote(value)} matches an empty line or nothing at all; write what must be there"
        )
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(VARIABLE, value):
        raise refuse(f"{quote(value)} is not a name; write letters, digits and '_'")
    return value


def _typed(value: str) -> str:
    if odd := unknown_escape(value):
        raise refuse(
            f"{quote(odd)} is no variable; write '${{name}}' for one, and '$$' before '{{' "
            "for what is sent as it is"
        )
    return value


def _control(value: str) -> str:
    if not re.fullmatch(r"[a-z@\[\\\]^_?]", value):
        raise refuse(f"{quote(value)} has no control character; write a small letter, such as c")
    return value


def _one_line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise refuse(f"{quote(value)} is not a line of text; write one")
    return value


def _break_seconds(value: Any) -> Any:  # noqa: ANN401 - whatever the file has
    return _BREAK_S if value is True else value


def _break(value: float) -> float:
    if not 0 < value <= _MOST_BREAK_S:
        raise refuse(f"{value:g} is not the length of a break; write seconds up to 2")
    return value


def _bare_break(value: Any) -> Any:  # noqa: ANN401 - whatever the file has
    return {"break": True} if value == "break" else value


def _alternatives(value: Any) -> Any:  # noqa: ANN401 - whatever the file has
    if isinstance(value, str):
        return [{"match": value}]
    if isinstance(value, list):
        return [{"match": one} if isinstance(one, str) else one for one in value]
    raise refuse("'expect' is no pattern; write one in quotes, or a list of '- match: …'")


Pattern = Annotated[str, AfterValidator(_pattern)]
Variable = Annotated[str, AfterValidator(_variable)]
Typed = Annotated[str, AfterValidator(_typed)]
Line = Annotated[str, AfterValidator(_one_line)]


class AlternativeEntry(_Strict):
    """One of several things that may come, and how to go on then."""

    match: Pattern = Field(description="Pattern.")
    capture: list[Variable] = Field([], description="Named groups to keep.")
    then: list[StepEntry] = Field([], description="Steps to go on with.")

    @model_validator(mode="after")
    def _has_its_groups(self) -> Self:
        _check_groups(self.capture, [self.match])
        return self


class _StepEntry(_Strict):
    """One step: one thing to do, and what belongs to it."""

    expect: Annotated[list[AlternativeEntry] | None, BeforeValidator(_alternatives)] = Field(
        None, description="Wait for a pattern, or for one of several."
    )
    send: Typed | None = Field(None, description="Type this.")
    sendline: Typed | None = Field(None, description="Type this and a carriage return.")
    control: Annotated[str, AfterValidator(_control)] | None = Field(
        None, description="Type a control character: c for Ctrl-C."
    )
    break_: Annotated[float, BeforeValidator(_break_seconds), AfterValidator(_break)] | None = (
        Field(None, alias="break", description="Hold a break, seconds.")
    )
    run: Line | None = Field(None, description="Run a command in the shell that is there.")
    power: Literal["on", "off", "cycle"] | None = Field(None, description="Switch the board.")
    secret: Variable | None = Field(None, description="Type a password, asked for by this name.")
    fail: Typed | None = Field(None, description="End here, with this message.")
    timeout: Seconds | None = Field(
        None, description="How long this step may take, seconds; alone: all that follow."
    )
    capture: list[Variable] = Field([], description="Named groups to keep.")
    in_: Literal["linux", "uboot"] | None = Field(
        None, alias="in", description="The shell in which a command is to run."
    )
    exit_code: int | None = Field(None, description="What a command must end with.  [0]")
    match: Pattern | None = Field(None, description="What a command must print.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        said = [name for name in ACTIONS if getattr(self, _attribute(name)) is not None]
        beside = [
            name
            for name in ("timeout", "capture", "in", "exit_code", "match")
            if getattr(self, _attribute(name)) not in (None, [])
        ]
        if len(said) > 1:
            raise refuse(f"'{said[0]}' and '{said[1]}' are two steps; write '- ' before each")
        if not said and beside != ["timeout"]:
            raise refuse(f"this step does nothing; write one of {', '.join(ACTIONS)}")
        for name in beside if said else []:
            if name not in ACTIONS[said[0]]:
                raise refuse(f"'{name}' does not belong to '{said[0]}'; remove it")
        if self.expect is not None:
            if not self.expect:
                raise refuse("'expect' waits for nothing; write a pattern")
            _check_groups(self.capture, [one.match for one in self.expect])
        elif self.run is not None and self.capture:
            _check_groups(self.capture, [self.match] if self.match else [])
        return self


# `- break` alone is a step, too.
StepEntry = Annotated[_StepEntry, BeforeValidator(_bare_break)]
AlternativeEntry.model_rebuild()
_StepEntry.model_rebuild()


class ScriptFile(_Strict):
    """A script."""

    description: str | None = Field(None, description="What it is for.")
    timeout: Seconds = Field(30.0, description="How long a step may wait, seconds.")
    fail_on: list[Pattern] = Field(
        [], description="What ends the script whenever it comes, besides the model's panics."
    )
    steps: list[StepEntry] = Field(description="What to do, one after the other.")

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if not self.steps:
            raise refuse("'steps' is empty; write at least one, such as '- expect: …'")
        return self


def _attribute(name: str) -> str:
    return f"{name}_" if name in ("break", "in") else name


def _check_groups(names: list[str], patterns: list[str]) -> None:
    for name in names:
        for pattern in patterns or [""]:
            if name not in compile_pattern(pattern).groupindex:
                where = f"the pattern {quote(pattern)}" if pattern else "a step without 'match'"
                raise refuse(f"{where} has no group (?P<{name}>…) to capture; write one around it")
