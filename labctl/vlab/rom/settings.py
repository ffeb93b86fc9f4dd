"""What can be set on a simulated chip's board; all checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from labctl.errors import UsageError
from labctl.inventory.diagnostics import did_you_mean
from labctl.vlab.rom.chip import chips

LINES = ("pty", "rfc2217")
_CHOICES = {"line": LINES}


@dataclass(frozen=True)
class Settings:
    """How a board is made.

    Attributes:
        chip: Its chip: a file of ``chips``.
        line: What the host opens: ``pty`` (a rate, no parity, no DTR and RTS) or ``rfc2217``.
        serial: Makes what is unique in a chip: another number, another chip; made
            of the board's name where it is 0.
        paced: Bytes take their time on the line.
        most_baud: Rate above which the cable damages every byte; 0 for none.
        flash_time: Factor on the times that its flash takes; 0 for none.
    """

    chip: str = "stm32f446"
    line: str = "rfc2217"
    serial: int = 0
    paced: bool = True
    most_baud: int = 0
    flash_time: float = 1.0

    def changed(self, values: Mapping[str, object]) -> Settings:
        """Return these settings with ``values`` in place of some.

        Raises:
            UsageError: A name is unknown or a value does not fit.
        """
        kinds = {one.name: str(one.type) for one in fields(Settings)}
        for name, value in values.items():
            if name not in kinds:
                raise UsageError(
                    f"there is no such setting{did_you_mean(name, kinds)}",
                    thing=name, action=f"it has: {', '.join(kinds)}",
                )  # fmt: skip
            _check(name, kinds[name], value)
        return replace(self, **values)  # type: ignore[arg-type]


def _check(name: str, kind: str, value: object) -> None:
    wanted = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}[kind]
    fits = isinstance(value, wanted) and isinstance(value, bool) is (kind == "bool")
    choices = {**_CHOICES, "chip": chips()}.get(name)
    if fits and choices is not None and value not in choices:
        fits = False
    if fits and kind in ("int", "float") and isinstance(value, int | float):
        fits = 0 <= value < 1 << 32
    if not fits:
        action = f"use one of {', '.join(choices)}" if choices else f"give a value of kind {kind}"
        raise UsageError(f"{value!r} does not fit", thing=name, action=action)
