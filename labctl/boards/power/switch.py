"""The power of one board, whatever switches it."""

from __future__ import annotations

import importlib.metadata
import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from labctl.boards.keys import Key, problems
from labctl.errors import LabctlError, UnreachableError, UsageError
from labctl.inventory.diagnostics import did_you_mean

GROUP = "labctl.power"
# What every kind takes besides its own keys.
_COMMON: Mapping[str, Key] = {
    "off_s": Key(float, "Shortest pause between off and on, seconds."),
    "deadline_s": Key(float, "How long the switch may take to answer, seconds.", least=1),
}
_DEADLINE_S = 15.0
# A back end keeps its deadline by itself; one that does not is left alone so much later.
_GRACE_S = 2.0
# Capacitors keep a small board alive for a while: a shorter pause is no reset.
_OFF_S = 1.0
# A relay, and a PDU that switches its outlets one after the other, take a moment.
_SETTLE_S = 5.0
_LOOK_EVERY_S = 0.2


def kinds() -> list[str]:
    """Return the kinds of back end that are installed."""
    return sorted(entry.name for entry in importlib.metadata.entry_points(group=GROUP))


def back_end(kind: str) -> ModuleType:
    """Return the back end ``kind``; see `labctl.boards.power` for what it has.

    Raises:
        UsageError: There is none.
    """
    for entry in importlib.metadata.entry_points(group=GROUP, name=kind):
        module: ModuleType = entry.load()
        return module
    raise UsageError(
        f"there is no power back end '{kind}'{did_you_mean(kind, kinds())}"
        if kind
        else "'kind' is missing",
        action=f"write 'kind:' with one of {', '.join(kinds())}",
    )


class Power:
    """The power of one board.

    Args:
        name: The board, for messages.
        config: ``kind``, the keys of that kind, and ``off_s`` and ``deadline_s``.
        ask: Asks a person to do something and returns when it is done, for the kind ``manual``;
            None where there is nobody.

    Raises:
        UsageError: There is no such kind, or a key is wrong; all of them are named.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, object],
        *,
        ask: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.kind = str(config.get("kind", ""))
        try:
            self._back_end = back_end(self.kind)
        except UsageError as error:
            raise UsageError(error.cause, thing=f"power of {name}", action=error.action) from None
        own = {key: value for key, value in config.items() if key != "kind"}
        self._check(own)
        usual = float(getattr(self._back_end, "OFF_S", _OFF_S))
        self._off_s = float(own.pop("off_s", usual))  # type: ignore[arg-type] # it is checked
        self._deadline_s = float(own.pop("deadline_s", _DEADLINE_S))  # type: ignore[arg-type]
        self._asks = bool(getattr(self._back_end, "ASKS", False))
        self._config = {**own, "ask": ask} if self._asks else own
        # When it went off, by the monotonic clock; None if not by us.
        self._went_off: float | None = None

    def _check(self, config: Mapping[str, object]) -> None:
        found = problems({**self._back_end.KEYS, **_COMMON}, config)
        if not found and hasattr(self._back_end, "check"):
            found = self._back_end.check(config)
        if found:
            raise UsageError(
                "; ".join(found),
                thing=f"power of {self.name} ({self.kind})",
                action="see docs/power.md",
            )

    def get(self) -> bool | None:
        """Tell whether the board has power; None where that cannot be known.

        Raises:
            LabctlError: The switch does not answer.
        """
        state: bool | None = self._call(self._back_end.get)
        return state

    def set(self, on: bool) -> None:
        """Switch the board, and look whether it is so where that can be known.

        Raises:
            LabctlError: It could not be switched, or is not as it should be afterwards.
        """
        if on and self._went_off is not None:
            left = self._went_off + self._off_s - time.monotonic()
            time.sleep(max(0.0, left))  # the pause itself is what is wanted
        self._call(self._back_end.set, on)
        self._verify(on)
        self._went_off = None if on else time.monotonic()

    def on(self) -> None:
        """Switch the board on, not sooner after `off` than it may be; see `set`."""
        self.set(True)

    def off(self) -> None:
        """Switch the board off; see `set`."""
        self.set(False)

    def cycle(self, off_s: float = 0.0) -> None:
        """Switch the board off and on again.

        Args:
            off_s: How long it stays off, seconds; at least what the inventory or its kind says.
        """
        self.off()
        time.sleep(max(0.0, off_s))  # likewise
        self.on()

    def _verify(self, on: bool) -> None:
        deadline = time.monotonic() + _SETTLE_S
        while (now := self.get()) is not None and now is not on:
            if time.monotonic() > deadline:
                raise LabctlError(
                    f"it was switched {'on' if on else 'off'} and is still {'off' if on else 'on'}",
                    thing=f"power of {self.name} ({self.kind})",
                    action="look at the switch and its wiring",
                )
            time.sleep(_LOOK_EVERY_S)

    def _call(self, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        def call() -> Any:  # noqa: ANN401 - of two signatures
            return function(self._config, *arguments, deadline_s=self._deadline_s)

        try:
            # A person is asked where the terminal is, and takes the time that it takes.
            return call() if self._asks else _within(self._deadline_s + _GRACE_S, call)
        except LabctlError as error:
            raise type(error)(
                error.cause, thing=f"power of {self.name} ({self.kind})", action=error.action
            ) from error


def _within(limit_s: float, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - of any type
    """Return what ``function`` does, or leave it alone after ``limit_s`` seconds.

    Looking up a host name has no deadline of its own, nor have back ends of other people.
    """
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((function(), None))
        except BaseException as error:  # it is raised again where it is waited for
            outcome.put((None, error))

    threading.Thread(target=run, name="power", daemon=True).start()
    try:
        value, error = outcome.get(timeout=limit_s)
    except queue.Empty:
        raise UnreachableError(
            f"no answer within {limit_s:g} s", action="check that the switch is there"
        ) from None
    if error is not None:
        raise error
    return value
