"""Who may write to a line."""

from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.owner.leases import Holder, Ledger

ALICE = Holder("alice", "lab1", 10, "board run")
BOB = Holder("bob", "lab1", 11, "console")


def take(ledger: Ledger, who: int, holder: Holder, now: float, idle_s: float | None = None) -> bool:
    lease, _ = ledger.acquire(who, holder, now=now, clock=now, ttl_s=30, idle_s=idle_s)
    return lease is not None


def test_one_holds_it_until_it_is_given_back() -> None:
    ledger = Ledger()
    assert take(ledger, 1, ALICE, 0)
    assert not take(ledger, 2, BOB, 1)
    assert ledger.release(2) is None
    assert ledger.holds(1)
    ended = ledger.release(1)
    assert ended is not None
    assert ended.holder is ALICE
    assert take(ledger, 2, BOB, 2)


def test_a_holder_that_hangs_loses_it() -> None:
    ledger = Ledger()
    take(ledger, 1, ALICE, 0)
    ledger.beat(1, 20)
    assert ledger.expire(49) is None
    ended = ledger.expire(51)
    assert ended is not None
    assert not ledger.holds(1)


def test_an_idle_terminal_gives_way_only_when_asked() -> None:
    ledger = Ledger()
    take(ledger, 1, ALICE, 0, idle_s=60)
    for second in range(0, 200, 10):
        ledger.beat(1, second)
    assert ledger.expire(200) is None
    assert ledger.holds(1)
    lease, former = ledger.acquire(2, BOB, now=200, clock=200, ttl_s=30, idle_s=None)
    assert lease is not None
    assert former is not None
    assert former.holder is ALICE


def test_a_terminal_that_is_typed_on_does_not() -> None:
    ledger = Ledger()
    take(ledger, 1, ALICE, 0, idle_s=60)
    ledger.beat(1, 50, wrote=True)
    assert not take(ledger, 2, BOB, 70)


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "free", "beat", "expire"]), st.integers(1, 4)),
        max_size=60,
    )
)
def test_never_two_at_once(steps: list[tuple[str, int]]) -> None:
    """Against a model: whoever was told that it has the line, has it until it is told it ended."""
    ledger, holders, now = Ledger(), set[int](), 0.0
    for step, who in steps:
        now += 7
        if step == "take":
            lease, former = ledger.acquire(who, BOB, now=now, clock=now, ttl_s=30, idle_s=20)
            if former:
                holders.discard(former.connection)
            if lease:
                holders.add(who)
        elif step == "free":
            if ledger.release(who):
                holders.discard(who)
        elif step == "beat":
            ledger.beat(who, now)
        elif ended := ledger.expire(now):
            holders.discard(ended.connection)
        assert len(holders) <= 1
        assert all(ledger.holds(one) for one in holders)
