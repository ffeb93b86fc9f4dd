"""Files replaced by a real shell: whole or not at all, and nobody else's change is lost."""

import os
import pwd
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.setup.remote_files import LOOK_AGAIN, replace_file, set_owner_and_mode

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]

ME, MY_GROUP = str(os.getuid()), str(os.getgid())


def replace(
    path: Path, content: bytes, before: bytes | None, *, mode: int = 0o644, validate: str = ""
) -> str:
    return replace_file(
        str(path),
        content,
        before=before,
        mode=mode,
        owner=ME,
        group=MY_GROUP,
        validate=validate,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(content=st.binary(max_size=20000), mode=st.integers(0, 0o777))
@settings(max_examples=25, deadline=None)
def test_any_content_and_mode(content: bytes, mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f")
        text = replace(path, content, None, mode=mode)
        subprocess.run(["sh", "-s"], input=text.encode(), check=True, timeout=30)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.chmod(0o600)
        assert path.read_bytes() == content
        assert names(Path(folder)) == ["f"]


@pytest.mark.parametrize("name", ["plain", "a b", "-n", "it's", "$x", "tab\t", "end ", "ü"])
def test_strange_names(sh: Shell, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert sh(replace(path, b"one", None)).returncode == 0
    assert sh(replace(path, b"two", b"one")).returncode == 0
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == [name]


def test_special_bits_survive_the_change_of_owner(sh: Shell, tmp_path: Path) -> None:
    assert sh(replace(tmp_path / "f", b"x", None, mode=0o4755)).returncode == 0
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o4755


def test_the_file_is_a_new_one_so_readers_keep_the_old(sh: Shell, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        assert sh(replace(path, b"new", b"old")).returncode == 0
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("now", [b"somebody else's", b"", None])
def test_a_change_by_somebody_else_is_not_lost(
    sh: Shell, tmp_path: Path, now: bytes | None
) -> None:
    path = tmp_path / "f"
    if now is not None:
        path.write_bytes(now)
    said = sh(replace(path, b"new", b"what the plan saw"))
    assert said.returncode == LOOK_AGAIN
    assert b"changed since" in said.stderr
    assert (path.read_bytes() if path.exists() else None) == now
    assert names(tmp_path) == ([] if now is None else ["f"])


def test_a_file_that_appeared_meanwhile_stays(sh: Shell, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"new here")
    assert sh(replace(path, b"ours", None)).returncode == LOOK_AGAIN
    assert path.read_bytes() == b"new here"


def test_a_dangling_link_that_appeared_meanwhile_stays(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "f").symlink_to("nowhere")
    assert sh(replace(tmp_path / "f", b"ours", None)).returncode == LOOK_AGAIN
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").is_symlink()


def test_a_file_that_is_not_accepted_never_takes_its_place(sh: Shell, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    said = sh(
        replace(path, b"bad", b"old", validate="grep -q good %s || { echo not good; false; }")
    )
    assert said.returncode != 0
    assert b"not good" in said.stdout
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]
    assert sh(replace(path, b"good", b"old", validate="grep -q good %s")).returncode == 0
    assert path.read_bytes() == b"good"


def test_the_validator_sees_the_owner_and_mode_that_the_file_will_have(
    sh: Shell, tmp_path: Path
) -> None:
    look = f"stat -c '%a %u' %s >{tmp_path}/seen"
    assert sh(replace(tmp_path / "f", b"x", None, mode=0o440, validate=look)).returncode == 0
    assert (tmp_path / "seen").read_text() == f"440 {ME}\n"


@pytest.mark.parametrize("command", ["(", "if", "'", "no-such-program %s"])
def test_a_mistake_in_the_validator_is_the_items_alone(
    sh: Shell, tmp_path: Path, command: str
) -> None:
    text = "( " + replace(tmp_path / "f", b"x", None, validate=command) + "\n)\necho goes on"
    assert sh(text).stdout.endswith(b"goes on\n")
    assert names(tmp_path) == []


def test_what_a_killed_run_left_is_removed(sh: Shell, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    text = replace(path, b"new", b"old", validate=f"kill -9 $PPID; touch {tmp_path}/ran; sleep 9")
    process = subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, start_new_session=True)
    process.communicate(text.encode(), timeout=30)
    left = tmp_path / ".f.labctl"
    assert (left / "new").read_bytes() == b"new"
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    assert path.read_bytes() == b"old"
    os.killpg(process.pid, signal.SIGKILL)  # the validator, which outlived its shell
    (tmp_path / "ran").unlink(missing_ok=True)
    assert sh(replace(path, b"newer", b"old")).returncode == 0
    assert path.read_bytes() == b"newer"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("kind", ["link", "file", "directory"])
def test_what_somebody_planted_in_its_way_is_not_written_through(
    sh: Shell, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o600)
    planted = tmp_path / ".f.labctl"
    if kind == "link":
        planted.symlink_to(victim)
    elif kind == "file":
        planted.write_bytes(b"")
    else:
        planted.mkdir()
        (planted / "new").symlink_to(victim)
    assert sh(replace(tmp_path / "f", b"ours", None, mode=0o666)).returncode == 0
    assert victim.read_bytes() == b"precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert names(tmp_path) == ["f", "victim"]


def test_a_user_cannot_have_us_change_a_file_of_root(tmp_path: Path) -> None:
    """In a user's own folder, that user swaps things as fast as it can while root writes."""
    if os.geteuid() != 0:
        pytest.skip("needs root and another user")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    home = tmp_path / "home"
    home.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"of root")
    victim.chmod(0o600)
    os.chown(home, 65534, 65534)
    attack = (
        f"cd {home} || exit; while :; do for d in .f.labctl*; do"
        f" mv -T $d x$$ 2>/dev/null && ln -s {victim} .f.labctl; rm -rf x$$; done; done"
    )
    attacker = subprocess.Popen(
        ["sh", "-c", attack], user=65534, group=65534, extra_groups=[], stderr=subprocess.DEVNULL
    )
    try:
        text = replace_file(
            f"{home}/f", b"ours", before=None, mode=0o666, owner="nobody", group="nogroup"
        )
        end = time.monotonic() + 2
        while time.monotonic() < end:
            subprocess.run(
                ["sh", "-s"], input=text.encode(), timeout=20, check=False, capture_output=True
            )
            (home / "f").unlink(missing_ok=True)
            status = victim.stat()
            assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)
            assert victim.read_bytes() == b"of root"
    finally:
        attacker.kill()
        attacker.wait()


def test_no_folder_no_file(sh: Shell, tmp_path: Path) -> None:
    assert sh(replace(tmp_path / "no" / "f", b"x", None)).returncode != 0
    assert names(tmp_path) == []


def test_the_new_file_is_private_until_it_is_whole(sh: Shell, tmp_path: Path) -> None:
    look = f"stat -c %a . >{tmp_path}/seen"
    assert sh(replace(tmp_path / "f", b"x", None, validate=look)).returncode == 0
    assert (tmp_path / "seen").read_text() == "700\n"


def test_without_a_group_it_is_the_login_group_of_the_owner(sh: Shell, tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid())
    text = replace_file(f"{tmp_path}/f", b"x", before=None, mode=0o644, owner=me.pw_name, group="")
    assert sh(text).returncode == 0
    assert (tmp_path / "f").stat().st_gid == me.pw_gid


def test_owner_and_mode_alone(sh: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a b"
    path.write_bytes(b"same")
    inode = path.stat().st_ino
    assert sh(set_owner_and_mode(str(path), mode=0o6711, owner=ME, group="")).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o6711
    assert (path.stat().st_ino, path.read_bytes()) == (inode, b"same")
    assert sh(set_owner_and_mode(str(path), mode=None, owner=ME, group=MY_GROUP)).returncode == 0
    missing = set_owner_and_mode(str(tmp_path / "no"), mode=0o600, owner=ME, group="")
    assert sh(missing).returncode != 0
