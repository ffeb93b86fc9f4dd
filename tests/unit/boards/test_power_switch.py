"""The power of a board, whatever switches it: verified, with a pause, and never for ever."""

import threading
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.boards.keys import Key
from labctl.boards.power import switch
from labctl.boards.power.switch import Power
from labctl.errors import LabctlError, UnreachableError


class Clock:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


class FakeSwitch:
    """A back end that remembers what it was told."""

    KEYS: Mapping[str, Key] = {"port": Key(int, "Port.")}

    def __init__(self) -> None:
        self.state: bool | None = False
        self.told: list[bool] = []
        self.works = True
        self.configs: list[Mapping[str, object]] = []
        self.deadlines: list[float] = []

    def get(self, config: Mapping[str, object], *, deadline_s: float) -> bool | None:
        self.configs.append(config)
        self.deadlines.append(deadline_s)
        return self.state

    def set(self, config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
        self.told.append(on)
        if self.works and self.state is not None:
            self.state = on


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        switch, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep)
    )
    return clock


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwitch:
    fake = FakeSwitch()
    monkeypatch.setattr(switch, "back_end", lambda kind: fake)
    return fake


def power(**config: Any) -> Power:
    return Power("uno", {"kind": "fake", **config})


def test_on_and_off(fake: FakeSwitch, clock: Clock) -> None:
    one = power(port=3)
    one.on()
    assert one.get() is True
    one.off()
    assert one.get() is False
    assert fake.told == [True, False]
    assert fake.configs[0] == {"port": 3}
    assert clock.slept == []


def test_deadline_is_handed_on(fake: FakeSwitch, clock: Clock) -> None:
    power(deadline_s=4).get()
    power().get()
    assert fake.deadlines == [4, 15]


@pytest.mark.parametrize(
    ("config", "asked", "pause"),
    [({}, 0, 1), ({"off_s": 3}, 0, 3), ({}, 5, 5), ({"off_s": 3}, 2, 3), ({"off_s": 0}, 0, 0)],
)
def test_pause_of_a_cycle(
    config: dict[str, object], asked: float, pause: float, fake: FakeSwitch, clock: Clock
) -> None:
    power(**config).cycle(asked)
    assert fake.told == [False, True]
    assert sum(clock.slept) == pause


def test_back_end_knows_its_own_pause(fake: FakeSwitch, clock: Clock) -> None:
    fake.OFF_S = 0.0  # type: ignore[attr-defined]
    power().cycle()
    assert sum(clock.slept) == 0


def test_on_soon_after_off_waits_for_the_rest(fake: FakeSwitch, clock: Clock) -> None:
    one = power(off_s=2)
    one.off()
    clock.now += 1.5
    one.on()
    assert sum(clock.slept) == 0.5


def test_switch_that_does_not_switch(fake: FakeSwitch, clock: Clock) -> None:
    fake.works = False
    with pytest.raises(LabctlError) as caught:
        power().on()
    assert str(caught.value) == (
        "power of uno (fake): it was switched on and is still off; "
        "look at the switch and its wiring"
    )
    assert 5 <= sum(clock.slept) <= 6


def test_switch_that_takes_a_moment(fake: FakeSwitch, clock: Clock) -> None:
    states: Iterator[bool] = iter([False, False, True])
    fake.get = lambda config, *, deadline_s: next(states)  # type: ignore[method-assign]
    power().on()
    assert len(clock.slept) == 2


def test_state_that_cannot_be_known(fake: FakeSwitch, clock: Clock) -> None:
    fake.state = None
    one = power()
    one.cycle()
    assert one.get() is None
    assert fake.told == [False, True]


def test_error_names_the_board(fake: FakeSwitch) -> None:
    def refuse(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
        raise UnreachableError("no answer", thing="10.0.0.7", action="look at it")

    fake.get = refuse  # type: ignore[method-assign]
    with pytest.raises(UnreachableError) as caught:
        power().get()
    assert str(caught.value) == "power of uno (fake): no answer; look at it"


def test_defect_of_a_back_end_is_no_error_of_the_board(fake: FakeSwitch) -> None:
    def fall(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
        raise ZeroDivisionError

    fake.get = fall  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        power().get()


def test_back_end_that_hangs_is_left_alone(
    fake: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()

    def hang(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
        never.wait()
        return True

    fake.get = hang  # type: ignore[method-assign]
    monkeypatch.setattr(switch, "_GRACE_S", -0.9)
    try:
        with pytest.raises(UnreachableError, match="no answer within"):
            power(deadline_s=1).get()
    finally:
        never.set()


def manual(ask: Callable[[str], None] | None, **config: object) -> Power:
    return Power("uno", {"kind": "manual", **config}, ask=ask)


def test_person_is_asked() -> None:
    questions: list[str] = []
    one = manual(questions.append, where="strip 2, red")
    one.off()
    one.on()
    assert questions == [
        "Switch it off (strip 2, red), then press Enter",
        "Switch it on (strip 2, red), then press Enter",
    ]
    assert one.get() is None


def test_person_is_asked_in_our_own_thread() -> None:
    """Ctrl-C and the terminal belong to the main thread."""
    threads: list[threading.Thread] = []
    manual(lambda question: threads.append(threading.current_thread())).off()
    assert threads == [threading.current_thread()]


def test_nobody_to_ask() -> None:
    with pytest.raises(LabctlError, match="there is nobody to ask"):
        manual(None).on()


def test_person_says_no() -> None:
    def no(question: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manual(no).on()
