"""Lines and blocks: what labctl says is there once, what the user says stays byte for byte."""

from hypothesis import given
from hypothesis import strategies as st
from worlds import FOLDER

from labctl.setup.facts import World
from labctl.setup.facts.path import ABSENT, PathFact, PathState, digest
from labctl.setup.resource import ImpossibleError
from labctl.setup.resources.authorized_key import AuthorizedKey
from labctl.setup.resources.block import Block
from labctl.setup.resources.line import Line

PATH = "/etc/thing"
# Small alphabets, so that lines meet each other; all bytes, so that nothing is taken for text.
LINES = st.lists(
    st.one_of(st.sampled_from([b"", b"a", b"b", b"ab", b"# a", b" a"]), st.binary(max_size=12))
)
CONTENT = st.one_of(
    st.none(),
    st.tuples(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans()).map(
        lambda parts: parts[1].join(parts[0]) + (b"\n" if parts[2] else b"")
    ),
)
WORDS = st.text(
    st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1, max_size=8
)


def world(content: bytes | None) -> World:
    state = ABSENT
    if content is not None:
        state = PathState("file", 0o640, "lab", "lab", len(content), digest(content), content)
    return World({PathFact(PATH): state, PathFact("/etc"): FOLDER})


def after(item: Line | Block, content: bytes | None) -> bytes | None:
    """Return the content that ``item`` leaves, having seen that it then wants no more."""
    there = world(content)
    change = item.plan(there, {})
    if change is None:
        return content
    there.update(change.effects)
    assert item.plan(there, {}) is None, "planning twice gives a change twice"
    state = there.get(PathFact(PATH), PathState)
    if content is not None:
        assert (state.mode, state.owner, state.group) == (0o640, "lab", "lab")
    assert change.backup == {PATH: content}
    return state.content


@given(content=CONTENT, line=st.one_of(st.sampled_from(["a", "b", "ab"]), WORDS))
def test_a_line_is_there_and_the_others_are_what_they_were(
    content: bytes | None, line: str
) -> None:
    new = after(Line(path=PATH, line=line), content)
    assert new is not None
    old = content or b""
    assert line.encode() in new.split(b"\n")
    if new != old:
        gap = b"" if not old or old.endswith(b"\n") else b"\n"
        assert new == old + gap + line.encode() + b"\n"


@given(content=CONTENT, line=st.sampled_from(["a", "ab", "ba"]), match=st.sampled_from(["a", "^#"]))
def test_a_line_in_place_of_another_changes_one_line(
    content: bytes | None, line: str, match: str
) -> None:
    new = after(Line(path=PATH, line=line, match=match), content)
    assert new is not None
    old_lines, new_lines = (content or b"").split(b"\n"), new.split(b"\n")
    assert line.encode() in new_lines
    if len(old_lines) == len(new_lines):
        assert sum(a != b for a, b in zip(old_lines, new_lines, strict=True)) <= 1


@given(content=CONTENT, line=st.sampled_from(["a", "b", "ab", "# a"]))
def test_a_line_that_goes_takes_no_other_with_it(content: bytes | None, line: str) -> None:
    new = after(Line(path=PATH, line=line, state="absent"), content)
    if content is None:
        assert new is None
        return
    assert new is not None
    wanted = [one for one in content.split(b"\n") if one != line.encode()]
    assert [one for one in new.split(b"\n") if one] == [one for one in wanted if one]
    assert line.encode() not in new.split(b"\n")


@given(
    content=CONTENT,
    block=st.lists(WORDS, max_size=4).map("\n".join),
    second=st.lists(WORDS, max_size=4).map("\n".join),
    position=st.sampled_from(["start", "end"]),
)
def test_a_block_leaves_the_users_lines_alone(
    content: bytes | None, block: str, second: str, position: str
) -> None:
    first = Block(path=PATH, content=block, position=position)
    one = after(first, content)
    assert one is not None
    two = after(Block(path=PATH, content=second, position=position), one)
    assert two is not None
    begin, end = first.marks()
    for text, body in ((one, block), (two, second)):
        head, _, rest = text.partition(begin + b"\n")
        inside, _, tail = rest.partition(end + b"\n")
        assert inside.decode() == body.rstrip("\n") + "\n"
        old = content or b""
        gap = b"\n" if position == "end" and old and not old.endswith(b"\n") else b""
        assert head + tail == old + gap


@given(content=CONTENT, pieces=st.lists(st.integers(0, 3), max_size=6))
def test_broken_marks_are_refused_and_never_made_worse(
    content: bytes | None, pieces: list[int]
) -> None:
    item = Block(path=PATH, content="x")
    begin, end = item.marks()
    extra = b"".join((begin, end, b"line", b"")[piece] + b"\n" for piece in pieces)
    text = (content or b"") + b"\n" + extra
    fine = [piece for piece in pieces if piece in (0, 1)] in ([], [0, 1])
    try:
        new = after(item, text)
    except ImpossibleError:
        assert not fine
    else:
        assert fine
        assert new is not None
        assert new.split(b"\n").count(begin) == new.split(b"\n").count(end) == 1


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBaCZ4gSRlDVYoCPjx1T4BQH7ByKnq5rVIhNdRuOL+rn"


@given(content=CONTENT)
def test_a_key_is_added_behind_all_others(content: bytes | None) -> None:
    item = AuthorizedKey(user="lab", key=KEY)
    file = "~lab/.ssh/authorized_keys"
    there = World(
        {
            **{fact: _account(fact) for fact in item.facts() if not isinstance(fact, PathFact)},
            PathFact("~lab/.ssh"): FOLDER,
            PathFact(file): world(content).get(PathFact(PATH), PathState),
        }
    )
    change = item.plan(there, {})
    assert change is not None
    there.update(change.effects)
    assert item.plan(there, {}) is None
    new = there.get(PathFact(file), PathState).content
    assert new is not None
    old = content or b""
    gap = b"" if not old or old.endswith(b"\n") else b"\n"
    assert new == old + gap + KEY.encode() + b"\n"


def _account(fact: object) -> object:
    from labctl.setup.facts.account import UserFact, UserState

    assert isinstance(fact, UserFact)
    return UserState(True, home="/home/lab")
