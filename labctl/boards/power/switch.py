"""The power of one board, whatever switches it."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any, Protocol, cast

from labctl.errors import LabctlError, UsageError
from labctl.inventory.diagnostics import did_you_mean

GROUP = "labctl.power"
_DEADLINE_S = 15.0
# Capacitors keep a small board alive for a while: a shorter pause is no reset.
_OFF_S = 1.0
_SETTLE_S = 5.0


class BackEnd(Protocol):
    """A module that switches power; see `labctl.boards.power`."""

    KEYS: Mapping[str, tuple[type, bool]]

    def get(self, config: Mapping[str, object], *, deadline_s: float) -> bool | None:
        """Tell whether it is on; None where that cannot be known."""
        ...

    def set(self, config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
        """Switch it."""
        ...


def kinds() -> list[str]:
    """Return the kinds of back end that are installed."""
    return sorted(entry.name for entry in importlib.metadata.entry_points(group=GROUP))


class Power:
    """The power of one board.

    Args:
        name: The board, for messages.
        config: ``kind`` and the keys of that kind.

    Raises:
        UsageError: There is no such kind, or a key is wrong; all of them are named.
    """

    def __init__(self, name: str, config: Mapping[str, object]) -> None:
        self.name = name
        self.kind = str(config.get("kind", ""))
        found = [one for one in importlib.metadata.entry_points(group=GROUP, name=self.kind)]
        if not found:
            raise UsageError(
                f"there is no power back end '{self.kind}'{did_you_mean(self.kind, kinds())}",
                thing=f"power of {name}", action=f"known: {', '.join(kinds())}",
            )  # fmt: skip
        self._back_end = cast(BackEnd, found[0].load())
        self._config = {key: value for key, value in config.items() if key != "kind"}
        self._check()

    def _check(self) -> None:
        keys = self._back_end.KEYS
        problems = [
            f"unknown key '{key}'{did_you_mean(key, keys)}"
            for key in self._config
            if key not in keys
        ]
        for key, (kind, needed) in keys.items():
            if key not in self._config:
                problems += [f"'{key}' is missing"] if needed else []
            elif not isinstance(self._config[key], kind):
                problems.append(f"'{key}' must be {'a number' if kind is int else 'text'}")
        if problems:
            raise UsageError(
                "; ".join(problems), thing=f"power of {self.name} ({self.kind})",
                action="see docs/board-models.md",
            )  # fmt: skip

    def get(self) -> bool | None:
        """Tell whether the board has power; None where that cannot be known."""
        state: bool | None = self._call(self._back_end.get)
        return state

    def set(self, on: bool) -> None:
        """Switch the board, and look whether it is so where that can be known.

        Raises:
            LabctlError: It could not be switched, or is not as it should be afterwards.
        """
        self._call(self._back_end.set, on)
        deadline = time.monotonic() + _SETTLE_S
        while (now := self.get()) is not None and now is not on:
            if time.monotonic() > deadline:
                raise LabctlError(
                    f"it was switched {'on' if on else 'off'} and is still {'off' if on else 'on'}",
                    thing=f"power of {self.name}", action="look at the switch and its wiring",
                )  # fmt: skip
            time.sleep(0.1)

    def cycle(self, off_s: float = _OFF_S) -> None:
        """Switch the board off and, after ``off_s`` seconds, on."""
        self.set(False)
        time.sleep(off_s)  # the pause itself is what is wanted
        self.set(True)

    def _call(self, function: Any, *arguments: object) -> Any:  # noqa: ANN401 - of two signatures
        try:
            return function(self._config, *arguments, deadline_s=_DEADLINE_S)
        except LabctlError as error:
            raise type(error)(
                error.cause, thing=f"power of {self.name} ({self.kind})", action=error.action
            ) from error
