"""What can be set on a scripted board: its faults, its line and its firmware; all checked here.

`Settings` hold until they are changed; `Actions` happen once. Both come as JSON, from the command
line of the program and from the monitor command ``x-fault``.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from labctl.errors import UsageError

FLOODS = ("line", "utf8", "escapes")
SHELLS = ("busybox", "dash", "bash")

# A byte of each of these is as likely to be hit as every other.
_SHARES = ("noise", "lose_in", "lose_out", "double_in", "double_out", "flip_in", "flip_out")
# The smallest value of the rest; no number may be infinite.
_LEAST = {"bootdelay": -1, "fifo": 1}


@dataclass(frozen=True)
class Settings:
    """How the board behaves until told otherwise.

    Attributes:
        baud: Rate of the board's end of the line, baud; 0 moves bytes without pacing.
        cable: Highest rate that the wire carries, baud; above it one byte of a hundred is
            damaged. 0 is any rate.
        noise: Kernel messages put into the output, for each byte of it (0.005 is one in 200).
        lose_in: Share of the bytes towards the board that the wire loses, 0 to 1.
        lose_out: The same from the board.
        double_in: Share of the bytes towards the board that arrive twice.
        double_out: The same from the board.
        flip_in: Share of the bytes towards the board in which one bit changes.
        flip_out: The same from the board.
        fifo: Bytes that the receiver of the board holds until its processor takes them.
        drain: Bytes per second that the processor takes; 0 takes them as they come.
        echo: Whether what is typed comes back.
        echo_delay: Seconds by which the board sees, and so echoes, each byte later.
        hang: The processor stands still; the power is on.
        seed: What the random faults start from; the same seed makes the same faults.
        boot_garbage: Random bytes before the first banner, as from a clock that is not set yet.
        bootdelay: Seconds that U-Boot counts down, when the saved environment has none; -1 never
            boots by itself.
        boot_seconds: How long Linux takes from ``Starting kernel`` to its login prompt.
        password: Password of root; empty for none.
        shell: Which real shell root gets: ``busybox``, ``dash`` or ``bash``.
        panic_reboot: Seconds from a kernel panic to the reset; 0 stays silent.
    """

    baud: int = 115200
    cable: int = 0
    noise: float = 0.0
    lose_in: float = 0.0
    lose_out: float = 0.0
    double_in: float = 0.0
    double_out: float = 0.0
    flip_in: float = 0.0
    flip_out: float = 0.0
    fifo: int = 16
    drain: float = 0.0
    echo: bool = True
    echo_delay: float = 0.0
    hang: bool = False
    seed: int = 1
    boot_garbage: int = 0
    bootdelay: int = 2
    boot_seconds: float = 1.0
    password: str = ""
    shell: str = "busybox"
    panic_reboot: float = 0.0

    choices: ClassVar[dict[str, tuple[str, ...]]] = {"shell": SHELLS}

    def changed(self, values: Mapping[str, object]) -> Settings:
        """Return these settings with ``values`` in place of some.

        Raises:
            UsageError: A name is unknown or a value does not fit.
        """
        return replace(self, **_checked(Settings, values))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Actions:
    """What happens once; None leaves it as it is.

    Attributes:
        hang_after: Hang when this many more bytes have left the board; 0 calls it off.
        reset_after: Reset then.
        panic_after: Panic then.
        panic: Panic now.
        unplug: Take the adapter out (true) or put it back (false).
        replug_after: Put it back after so many seconds.
        garbage: Send so many random bytes.
        flood: Send without end: one ``line``, invalid ``utf8`` or terminal ``escapes``. Ctrl-C
            ends it.
        flood_bytes: How much of it, bytes.
    """

    hang_after: int | None = None
    reset_after: int | None = None
    panic_after: int | None = None
    panic: bool | None = None
    unplug: bool | None = None
    replug_after: float | None = None
    garbage: int | None = None
    flood: str | None = None
    flood_bytes: int = 1_000_000_000

    choices: ClassVar[dict[str, tuple[str, ...]]] = {"flood": FLOODS}


def from_words(words: Sequence[str]) -> dict[str, object]:
    """Return what words such as ``noise=0.005`` and ``unplug=true`` say; a bare name means true.

    Raises:
        UsageError: A name is unknown or a value does not fit.
    """
    values: dict[str, object] = {}
    for word in words:
        name, given, text = word.partition("=")
        kind = _kinds().get(name, "")
        value: object = text if given else True
        if given and kind != "str":
            with contextlib.suppress(ValueError):
                value = json.loads(text)
        values[name] = value
    split_faults(values)
    return values


def split_faults(values: Mapping[str, object]) -> tuple[dict[str, object], Actions]:
    """Split what came with ``x-fault`` into changes of the settings and actions.

    Raises:
        UsageError: A name is unknown or a value does not fit; then nothing of it may be done.
    """
    once = {one.name for one in fields(Actions)}
    lasting = {key: value for key, value in values.items() if key not in once}
    Settings().changed(lasting)
    actions = {key: value for key, value in values.items() if key in once}
    return lasting, Actions(**_checked(Actions, actions))  # type: ignore[arg-type]


def _kinds() -> dict[str, str]:
    """Return the type of every setting and action."""
    every = (*fields(Settings), *fields(Actions))
    return {one.name: str(one.type).removesuffix(" | None") for one in every}


def _checked(kind: type[Settings | Actions], values: Mapping[str, object]) -> dict[str, object]:
    kinds, own = _kinds(), {one.name for one in fields(kind)}
    good: dict[str, object] = {}
    for key, value in values.items():
        if key not in own:
            near = difflib.get_close_matches(key, kinds, 1)
            raise UsageError(
                "the scripted board has no such setting",
                thing=key,
                action=f"did you mean {near[0]}?" if near else f"it has: {', '.join(kinds)}",
            )
        good[key] = _fitting(key, kinds[key], kind.choices.get(key, ()), value)
    return good


def _fitting(key: str, kind: str, choices: tuple[str, ...], value: object) -> object:
    """Return ``value``, a whole number as a float where one is wanted."""
    if kind == "str":
        if isinstance(value, str) and (not choices or value in choices):
            return value
        raise _misfit(key, value, " or ".join(choices) or "a text")
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise _misfit(key, value, "true or false")
    least = _LEAST.get(key, 0)
    if kind == "int":
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= 2**40:
            return value
        raise _misfit(key, value, f"a whole number, {least} or more")
    most = 1.0 if key in _SHARES else 1e9
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number) and 0 <= number <= most:
            return number
    raise _misfit(key, value, "a share, 0 to 1" if key in _SHARES else "a number, 0 or more")


def _misfit(key: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"{value!r} does not fit", thing=key, action=f"give {wanted}")
