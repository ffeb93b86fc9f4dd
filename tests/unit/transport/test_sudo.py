"""Becoming root: the handshake with sudo, against a stand-in that records what it is given."""

import os
import threading
import time
from pathlib import Path

import pytest

from labctl.errors import UnreachableError
from labctl.transport import session as session_module
from labctl.transport.local import LocalSession
from labctl.transport.session import AuthenticationError, ScriptCancelledError, Session, Sudo

PASSWORD = "correct horse battery staple"

# Does what sudo(8) does with these options, and writes down all that others could see.
FAKE = r"""#!/bin/sh
look() { tr '\0' '\n' <"/proc/$1/cmdline"; tr '\0' '\n' <"/proc/$1/environ"; }
{ look $$; look $PPID; } >>"$FAKE/seen" 2>/dev/null
[ "$1" = -S ] && [ "$2" = -p ] && [ "$4" = -- ] || { echo "bad options: $*" >&2; exit 99; }
prompt=$3; shift 4
case $(cat "$FAKE/mode") in
nopasswd) exec "$@" ;;
lecture) i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); echo "#$i) Respect the privacy."; done ;;
unknown) echo "$USER is not in the sudoers file." >&2; exit 1 ;;
forbidden) echo "Sorry, user x is not allowed to execute '/bin/sh' as root on box." >&2; exit 1 ;;
broken) exit 1 ;;
noise) printf '\033]0;owned\007noise' ;;
hang) read -r never; exit 1 ;;
esac
tries=0
while [ $tries -lt 3 ]; do
  printf '%s' "$prompt" >&2
  IFS= read -r word || exit 1
  printf '%s\n' "$word" >>"$FAKE/words"
  if [ "$word" = "$(cat "$FAKE/password")" ]; then exec "$@"; fi
  echo 'Sorry, try again.' >&2
  tries=$((tries + 1))
done
echo 'sudo: 3 incorrect password attempts' >&2
exit 1
"""


class Box(LocalSession):
    """This machine, as if the present user needed sudo."""

    def __init__(self, sudo: Sudo) -> None:
        Session.__init__(self, "box", sudo)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for sudo first on the path; return the folder that steers it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sudo").write_text(FAKE)
    (folder / "sudo").chmod(0o755)
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    return tmp_path


def run(mode: str, fake: Path, password: str | None = None, script: str = "echo done") -> bytes:
    (fake / "mode").write_text(mode)
    box = Box(Sudo(lambda: password))
    return box.run_script(script, deadline=20).output


def words(fake: Path) -> list[str]:
    path = fake / "words"
    return path.read_text().splitlines() if path.exists() else []


def test_without_a_password(fake: Path) -> None:
    assert run("nopasswd", fake) == b"done\n"
    assert words(fake) == []


def test_nobody_is_asked_for_a_password_that_sudo_does_not_want(fake: Path) -> None:
    (fake / "mode").write_text("nopasswd")

    def password() -> str:
        raise AssertionError("nobody should be asked")

    assert Box(Sudo(password)).run_script("echo done", deadline=20).output == b"done\n"


@pytest.mark.parametrize("mode", ["password", "lecture", "noise"])
def test_with_the_right_password(fake: Path, mode: str) -> None:
    assert run(mode, fake, PASSWORD) == b"done\n"
    assert words(fake) == [PASSWORD]


@pytest.mark.parametrize("password", ["a b", "ü€", "'\"$(id)`\\", "-n", " lead and trail "])
def test_strange_passwords(fake: Path, password: str) -> None:
    (fake / "password").write_text(password)
    assert run("password", fake, password) == b"done\n"


def test_a_wrong_password_is_sent_once_and_the_script_never(fake: Path) -> None:
    with pytest.raises(AuthenticationError, match="sudo refused the password.*--ask-sudo-pass"):  # noqa: RUF043
        run("password", fake, "wrong", script=f"touch {fake}/ran")
    assert words(fake) == ["wrong"]
    assert not (fake / "ran").exists()


def test_a_password_that_nobody_has(fake: Path) -> None:
    with pytest.raises(AuthenticationError, match="sudo asked for a password"):
        run("password", fake, None)
    assert words(fake) == []


def test_the_password_is_seen_nowhere(fake: Path) -> None:
    output = run("password", fake, PASSWORD, "cat /proc/$$/cmdline /proc/$$/environ; echo; set")
    seen = (fake / "seen").read_bytes()
    assert b"-ask@" in seen  # it did look
    for text in (seen, output):
        assert PASSWORD.encode() not in text
        assert b"battery" not in text


def test_the_script_is_not_taken_for_a_password(fake: Path) -> None:
    run("password", fake, PASSWORD, "echo first\necho second")
    assert words(fake) == [PASSWORD]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("unknown", "is not in the sudoers file"),
        ("forbidden", "not allowed to execute"),
        ("broken", "no reason given"),
    ],
)
def test_refusals_say_why(fake: Path, mode: str, says: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        run(mode, fake)
    assert says in str(caught.value)
    assert "-ask@" not in str(caught.value)
    assert caught.value.action


def test_no_sudo_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    box = Box(Sudo(lambda: None))
    with pytest.raises(AuthenticationError, match="there is no sudo on it") as caught:
        box.run_script("echo done", deadline=20)
    assert "log in as root" in caught.value.action


def test_a_sudo_that_does_not_answer(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_HANDSHAKE_S", 0.5)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="sudo did not answer in time"):
        run("hang", fake)
    assert time.monotonic() - began < 10


def test_calling_off_while_sudo_hangs(fake: Path) -> None:
    (fake / "mode").write_text("hang")
    off = threading.Event()
    threading.Timer(0.2, off.set).start()
    began = time.monotonic()
    with pytest.raises(ScriptCancelledError):
        Box(Sudo(lambda: None)).run_script("true", deadline=60, cancelled=off.is_set)
    assert time.monotonic() - began < 10


def test_a_person_may_take_longer_than_the_script(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time in which somebody looks for the password is not the script's."""
    monkeypatch.setattr(session_module, "_HANDSHAKE_S", 0.6)
    (fake / "mode").write_text("password")

    def think() -> str:
        time.sleep(0.8)  # longer than both limits, which is the case that is tested
        return PASSWORD

    assert Box(Sudo(think)).run_script("echo done", deadline=0.7).output == b"done\n"


def test_root_needs_no_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    here = LocalSession(Sudo(lambda: None))
    # By its full path: a sudo in the way would be found on the path.
    assert here.run_script("/bin/echo done", deadline=20).output == b"done\n"


def test_a_local_script_has_a_session_of_its_own() -> None:
    """So that Ctrl-C on the terminal reaches labctl and not a dpkg at work."""
    box = Box(Sudo(lambda: None))
    box._sudo = None
    said = box.run_script("ps -o sid= -p $$ || cut -d' ' -f6 /proc/$$/stat", deadline=20).output
    assert int(said.split()[0]) != os.getsid(0)


def test_a_large_script_and_a_large_output_here() -> None:
    box = Box(Sudo(lambda: None))
    box._sudo = None
    script = (
        "labctl_main() {\n" + "# padding\n" * 100_000 + "head -c 2000000 /dev/zero\n}\nlabctl_main"
    )
    assert len(box.run_script(script, deadline=60).output) == 2_000_000


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def test_no_process_is_left_behind() -> None:
    before = children()
    box = Box(Sudo(lambda: None))
    box._sudo = None
    for _ in range(5):
        box.run_script("true", deadline=20)
    assert children() <= before


# -- root only where it is free ------------------------------------------------------------------

FREE = """#!/bin/sh
[ "$1" = -n ] || exit 99
[ "$(cat "$FAKE/mode")" = free ] || { echo 'sudo: a password is required' >&2; exit 1; }
shift; AS_ROOT=yes exec env AS_ROOT=yes "$@"
"""


@pytest.mark.parametrize(("mode", "root"), [("free", "yes"), ("password", "no")])
def test_root_is_taken_where_it_is_free_and_not_needed(fake: Path, mode: str, root: str) -> None:
    (fake / "bin" / "sudo").write_text(FREE)
    (fake / "mode").write_text(mode)

    def never() -> str | None:
        raise AssertionError("nobody is to be asked")

    done = Box(Sudo(never)).run_script("echo root=${AS_ROOT:-no}", deadline=30, need_root=False)
    assert (done.exit_status, done.output) == (0, f"root={root}\n".encode())


def test_without_sudo_at_all_it_runs_as_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = Box(Sudo(lambda: None)).run_script("echo here", deadline=30, need_root=False)
    assert (done.exit_status, done.output) == (0, b"here\n")
