"""The kinds of values in a model of a board, each with the message that says what to write."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from labctl.boards.model_patterns import line_start, prompt
from labctl.errors import UsageError
from labctl.inventory.diagnostics import quote
from labctl.inventory.fields import refuse
from labctl.transport.lines.settings import check_baud

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,6}) ?(KiB|MiB|GiB)")
# What people write in single quotes, where YAML knows no escapes.
_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|[nrte0])")
# 64-bit addresses.
_LARGEST = 2**64
_LONGEST_S = 86_400.0


def _pattern(value: str) -> str:
    try:
        line_start(value)
        compiled = prompt(value)
    except re.error as error:
        raise refuse(
            f"{quote(value)} is not a regular expression: {error}; "
            "write '\\' before a special character that stands for itself"
        ) from None
    if value.startswith("^"):
        raise refuse(
            f"{quote(value)} begins with '^'; leave it away: "
            "patterns count at the beginning of a line anyway"
        )
    if compiled.match(b""):
        raise refuse(f"{quote(value)} matches an empty text; write what must be there")
    return value


def _keys(value: str) -> str:
    if _ESCAPE.search(value):
        raise refuse(f'{quote(value)} has an escape; write it in double quotes, such as "\\x03"')
    if not value or not value.isascii():
        raise refuse(f"{quote(value)} cannot be typed; write ASCII characters, such as ' '")
    return value


def _baud(value: int) -> int:
    try:
        check_baud(value)
    except UsageError:
        raise refuse(f"{value} is not a rate; write one such as 115200") from None
    return value


def _seconds(value: float) -> float:
    if not 0 < value <= _LONGEST_S:
        raise refuse(f"{value:g} is not a time; write seconds, such as 2.5")
    return value


def _address(value: int) -> int:
    if not 0 <= value < _LARGEST:
        raise refuse(f"{value} is not an address; write one such as 0x40000000")
    return value


def _read_size(value: Any) -> Any:  # noqa: ANN401 - whatever the file has
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else value


def _size(value: int) -> int:
    if not 0 < value < _LARGEST:
        raise refuse(f"{value} is not a size; write bytes, or one such as '4 MiB'")
    return value


def _usb_number(value: int) -> int:
    if not 0 <= value <= 0xFFFF:
        raise refuse(f"{value} is not a USB id; write one such as 0x0403, as lsusb shows it")
    return value


def _interface(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{2}", value):
        raise refuse(f"{quote(value)} is not an interface; write two hexadecimal digits: '01'")
    return value


def _count(value: int) -> int:
    if value < 1:
        raise refuse(f"{value} is too small; write 1 or more")
    return value


def _line_limit(value: int) -> int:
    if not 64 <= value <= 65_536:
        raise refuse(f"{value} is not a line's length; write CONFIG_SYS_CBSIZE, such as 512")
    return value


def _switched(value: dict[str, Any]) -> dict[str, Any]:
    if value and not isinstance(value.get("kind"), str):
        raise refuse("'kind' is missing; write 'kind: …' and the keys of docs/power.md")
    return value


Pattern = Annotated[str, AfterValidator(_pattern), Field(json_schema_extra={"format": "regex"})]
Keys = Annotated[str, AfterValidator(_keys)]
Baud = Annotated[int, AfterValidator(_baud)]
Seconds = Annotated[float, AfterValidator(_seconds)]
Address = Annotated[int, AfterValidator(_address)]
Size = Annotated[
    int,
    BeforeValidator(_read_size),
    AfterValidator(_size),
    Field(json_schema_extra={"type": ["integer", "string"]}),
]
UsbNumber = Annotated[int, AfterValidator(_usb_number)]
Interface = Annotated[str, AfterValidator(_interface)]
Count = Annotated[int, AfterValidator(_count)]
LineLimit = Annotated[int, AfterValidator(_line_limit)]
Switched = Annotated[dict[str, Any], AfterValidator(_switched)]
