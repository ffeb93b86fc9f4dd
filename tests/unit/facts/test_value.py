"""A fact is a value or a reason."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from labctl.facts.value import Fact, Known, Reason, Unknown, absent, parsed, to_json, unreadable


def test_a_number_is_read_and_nothing_is_not_zero() -> None:
    assert parsed(" 12\n", int) == Known(12)
    assert parsed("", int) == absent()
    assert parsed("[N/A]", int) == unreadable("[N/A]")


@given(st.text())
def test_no_text_is_ever_read_as_something_it_does_not_say(text: str) -> None:
    fact = parsed(text, int)
    if isinstance(fact, Known):
        assert fact.value == int(text.strip())
    else:
        assert fact.reason in (Reason.ABSENT, Reason.UNREADABLE)


def test_map_keeps_the_reason() -> None:
    lost: Fact[int] = Unknown(Reason.LOST, "GPU is lost")
    assert lost.map(lambda value: value * 2) == lost
    assert Known(2).map(lambda value: value * 2) == Known(4)


def test_the_reason_reads_as_words() -> None:
    assert str(Unknown(Reason.TIMED_OUT, "df after 5 s")) == "timed out: df after 5 s"
    assert str(absent()) == "absent"


def test_json_form() -> None:
    @dataclass(frozen=True)
    class Disk:
        used: Fact[int]
        inodes: Fact[int]
        tags: frozenset[str]

    disk = Disk(Known(3), Unknown(Reason.NOT_SUPPORTED, "btrfs"), frozenset({"b", "a"}))
    assert to_json({"disks": [disk]}) == {
        "disks": [
            {
                "used": {"value": 3},
                "inodes": {"unknown": "not_supported", "words": "btrfs"},
                "tags": ["a", "b"],
            }
        ]
    }
