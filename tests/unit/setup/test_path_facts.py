"""What is at a path: the snippet runs in a real shell, its answer is held against os.stat."""

import grp
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from labctl.setup.facts import collect_script, parse_collected
from labctl.setup.facts.path import ABSENT, CONTENT_LIMIT, PathFact, PathState, digest, shell_path
from labctl.setup.resources.directory import Directory
from labctl.setup.resources.file import File
from labctl.transport.script import RecordReader, assemble

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]


def look(*facts: PathFact) -> dict[PathFact, PathState]:
    """Collect ``facts`` here, through a whole script and its reader."""
    script = assemble(collect_script(facts))
    said = subprocess.run(
        ["sh", "-s"], input=script.text.encode(), capture_output=True, timeout=60, check=True
    )
    reader = RecordReader(script.nonce)
    reader.feed(said.stdout)
    values = parse_collected(facts, reader.records)
    return {fact: value for fact, value in values.items() if isinstance(value, PathState)}


def state_of(path: Path, *, content: bool = True, unless: str | None = None) -> PathState:
    fact = PathFact(str(path), content=content, unless=unless)
    return look(fact)[fact]


def by_python(path: Path) -> tuple[int, str, str, int]:
    status = path.lstat()
    return (
        stat.S_IMODE(status.st_mode),
        pwd.getpwuid(status.st_uid).pw_name,
        grp.getgrgid(status.st_gid).gr_name,
        status.st_size,
    )


def by_fact(state: PathState) -> tuple[int, str, str, int]:
    return state.mode, state.owner, state.group, state.size


@given(
    content=st.binary(max_size=5000),
    mode=st.integers(0, 0o777),
    name=st.text(
        st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]),
        min_size=1,
        max_size=40,
    ).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 200),
)
@settings(max_examples=60, deadline=None)
def test_any_file_is_seen_as_it_is(content: bytes, mode: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        path.chmod(mode | 0o400)
        state = state_of(path)
        assert state.type == "file"
        assert by_fact(state) == by_python(path)
        assert state.content == content
        assert state.sha256 == digest(content)


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "two  spaces ",
        "-n",
        "--help",
        "it's",
        'say "hi"',
        "$HOME",
        "`id`",
        "*",
        "[a]",
        "tab\there",
        "dev-disk-by\\x2duuid.swap",
        "back\\\\slashes\\n",
        "umlaut-äöü-ß",
        "漢字",
        "#comment",
        "S 81a4 root root 0",
        "per%cent%s",
    ],
)
def test_strange_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content\n")
    state = state_of(path)
    assert state.type == "file"
    assert state.content == b"content\n"
    assert state.sha256 == digest(b"content\n")
    assert by_fact(state) == by_python(path)


@pytest.mark.parametrize("kind", [File, Directory])
@pytest.mark.parametrize(
    "path",
    [
        "/a\nb",
        "/a\0b",
        "relative",
        "",
        "~/x",
        "~",
        "~Upper/x",
        "~$(id)/x",
        "/a/../b",
        "/a/..",
        "/a//b",
        "/a/./b",
        "/a/",
    ],
)
def test_paths_that_are_refused(kind: type[File] | type[Directory], path: str) -> None:
    with pytest.raises(ValidationError):
        kind(path=path)


def test_a_name_that_is_not_utf8_comes_back(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/nowhere/\udcff\udcfe")
    assert state_of(tmp_path / "link").target == "/nowhere/\udcff\udcfe"


def test_absent_and_below_absent(tmp_path: Path) -> None:
    assert state_of(tmp_path / "no") == ABSENT
    assert state_of(tmp_path / "no" / "deeper") == ABSENT
    (tmp_path / "file").touch()
    assert state_of(tmp_path / "file" / "below a file") == ABSENT


def test_a_directory_has_no_content(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir(mode=0o750)
    state = state_of(folder)
    assert (state.type, state.mode, state.content, state.sha256) == ("directory", 0o750, None, None)


def test_special_bits(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.touch()
    path.chmod(0o6755)
    assert state_of(path).mode == 0o6755
    tmp_path.chmod(0o1777)
    assert state_of(tmp_path).mode == 0o1777


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "relative", "dangling", "two\nS 81a4 root root 0 /etc/shadow", "a b "]
)
def test_a_link_is_seen_as_a_link_and_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "relative").write_text("not this")
    link = tmp_path / "link"
    link.symlink_to(target)
    other = PathFact("/etc/shadow-that-is-not-there")
    fact = PathFact(str(link), content=True)
    seen = look(fact, other)
    assert (seen[fact].type, seen[fact].target) == ("link", target)
    assert seen[fact].content is None
    assert seen[other] == ABSENT


def test_a_link_target_cannot_pretend_to_be_the_answer_for_another_path(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "link").symlink_to(f"x\nS 81ff evil evil 6 {victim}\nC {victim}\nZXZpbA==")
    link, file = PathFact(str(tmp_path / "link")), PathFact(str(victim), content=True)
    assert look(link, file)[file] == ABSENT


def test_a_fifo_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to fifo").symlink_to("fifo")
    assert state_of(tmp_path / "fifo").type == "other"  # a reader would hang until the time-out
    assert state_of(tmp_path / "to fifo").type == "link"


def test_devices_are_not_read() -> None:
    state = state_of(Path("/dev/zero"))
    assert (state.type, state.content) == ("other", None)


def test_content_up_to_the_limit_and_not_beyond(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * CONTENT_LIMIT)
    assert state_of(path).content == b"x" * CONTENT_LIMIT
    path.write_bytes(b"x" * (CONTENT_LIMIT + 1))
    state = state_of(path)
    assert state.content is None
    assert state.size == CONTENT_LIMIT + 1
    assert state.sha256 == digest(b"x" * (CONTENT_LIMIT + 1))


def test_content_that_the_caller_has_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "a $strange name"
    path.write_bytes(b"known")
    same = state_of(path, unless=digest(b"known"))
    assert (same.sha256, same.content) == (digest(b"known"), None)
    other = state_of(path, unless=digest(b"something else"))
    assert (other.sha256, other.content) == (digest(b"known"), b"known")


def test_content_that_nobody_asks_for_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"secret")
    state = state_of(tmp_path / "f", content=False)
    assert (state.content, state.sha256) == (None, None)


def test_two_who_ask_get_what_the_one_who_asks_for_more_wants(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"both")
    name = str(tmp_path / "f")
    wants = [
        PathFact(name),
        PathFact(name, content=True, unless=digest(b"both")),
        PathFact(name, content=True),
    ]
    for order in (wants, wants[::-1], [wants[2], wants[0], wants[1]]):
        assert look(*order)[PathFact(name)].content == b"both"


def test_many_paths_in_one_go_keep_apart(tmp_path: Path) -> None:
    facts = []
    for number in range(50):
        path = tmp_path / f"file {number}"
        path.write_text(f"content {number}\n" * number)
        facts.append(PathFact(str(path), content=True))
    seen = look(*facts)
    for number, fact in enumerate(facts):
        assert seen[fact].content == f"content {number}\n".encode() * number


def test_an_owner_without_a_name_is_a_number(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = tmp_path / "orphan"
    path.touch()
    os.chown(path, 4123456, 4123457)
    state = state_of(path)
    assert (state.owner, state.group) == ("4123456", "4123457")


def test_the_home_of_a_user() -> None:
    me = pwd.getpwuid(os.getuid())
    home, below = PathFact(f"~{me.pw_name}"), PathFact(f"~{me.pw_name}/.no such file")
    seen = look(home, below, PathFact(f"~{me.pw_name}/."))
    assert seen[home].type == "directory"
    assert by_fact(seen[home]) == by_python(Path(me.pw_dir))
    assert seen[below] == ABSENT


def test_the_home_of_nobody_we_know_is_absent() -> None:
    facts = [PathFact("~no_such_user_here"), PathFact("~no_such_user_here/.bashrc", content=True)]
    assert set(look(*facts).values()) == {ABSENT}


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/etc/motd", "/etc/motd"),
        ("~lab/.bashrc", "~lab/.bashrc"),
        ("~lab/a b", "~lab/'a b'"),
        ("~lab", "~lab"),
        ("/a/~lab", "'/a/~lab'"),
        ("/a b", "'/a b'"),
    ],
)
def test_only_a_home_at_the_start_is_left_to_the_shell(path: str, word: str) -> None:
    assert shell_path(path) == word


def test_collecting_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "l").symlink_to("f")
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    look(*(PathFact(str(tmp_path / name), content=True) for name in ("f", "l", "absent")))
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert {k: (v.st_ino, v.st_ctime_ns) for k, v in before.items()} == {
        k: (v.st_ino, v.st_ctime_ns) for k, v in after.items()
    }
