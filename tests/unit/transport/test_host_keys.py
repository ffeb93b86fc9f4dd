"""Host keys: an unknown one is asked about, a changed one never passes."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sshd_server import Server, make_key, public

from labctl.transport.hostkeys import (
    HostKeyError,
    HostKeyPolicy,
    fingerprint,
    known_hosts_name,
)
from labctl.transport.known_hosts import parse_key
from labctl.transport.ssh import Access, connect

Serve = Callable[..., Server]
YES = Access(decide=lambda name, kind, mark: True, connect_timeout=5)
NO = Access(connect_timeout=5)


@pytest.fixture
def server(serve: Serve, my_key: Path) -> Server:
    """Return a server that lets `my_key` in."""
    one = serve()
    one.let_in(my_key)
    return one


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Return the path of a known_hosts file that does not exist yet."""
    return tmp_path / "new folder" / "known_hosts"


def log_in(server: Server, my_key: Path, known: Path, access: Access = NO, **more: object) -> None:
    fields: dict[str, object] = {
        "identity_files": (str(my_key),),
        "host_keys": (),
        "user_known_hosts": (str(known),),
    }
    connect(server.target(**{**fields, **more}), access).close()


def keygen_fingerprint(path: Path) -> str:
    said = subprocess.run(
        ["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True, timeout=20
    )
    return said.stdout.split()[1]


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / "key", kind)
    assert fingerprint(parse_key(public(key))) == keygen_fingerprint(key)


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 !!!", "x y", "ssh-rsa AAAA"])
def test_what_is_not_a_public_key(line: str) -> None:
    with pytest.raises(ValueError, match="not a public key"):
        parse_key(line)


def test_an_unknown_key_is_refused_and_shown(server: Server, my_key: Path, known: Path) -> None:
    with pytest.raises(HostKeyError) as caught:
        log_in(server, my_key, known)
    text = str(caught.value)
    assert "its host key is not known" in text
    assert keygen_fingerprint(server.host_keys["ed25519"]) in text
    assert "--accept-new" in text
    assert not known.exists()
    assert "Accepted" not in (server.folder / "log").read_text()


def test_an_unknown_key_that_is_accepted_is_known_from_then_on(
    server: Server, my_key: Path, known: Path
) -> None:
    asked: list[tuple[str, str, str]] = []

    def decide(name: str, kind: str, mark: str) -> bool:
        asked.append((name, kind, mark))
        return True

    log_in(server, my_key, known, Access(decide=decide, connect_timeout=5))
    mark = keygen_fingerprint(server.host_keys["ed25519"])
    assert asked == [(f"[127.0.0.1]:{server.port}", "ssh-ed25519", mark)]
    line = f"[127.0.0.1]:{server.port} {public(server.host_keys['ed25519'])}\n"
    assert known.read_text() == line
    log_in(server, my_key, known)  # ssh(1) itself agrees:
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{server.port}", "-f", str(known)],
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert b"found" in found.stdout


def test_strict_checking_of_the_users_configuration_beats_accept_new(
    server: Server, my_key: Path, known: Path
) -> None:
    with pytest.raises(HostKeyError):
        log_in(server, my_key, known, YES, strict_host_key_checking="yes")


def test_a_changed_key_stops_with_both_fingerprints_even_when_new_ones_are_accepted(
    server: Server, my_key: Path, known: Path, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    known.parent.mkdir()
    known.write_text(f"[127.0.0.1]:{server.port} {public(other)}\n")
    before = known.read_bytes()
    with pytest.raises(HostKeyError) as caught:
        log_in(server, my_key, known, YES)
    text = str(caught.value)
    assert "has changed" in text
    assert keygen_fingerprint(server.host_keys["ed25519"]) in text
    assert keygen_fingerprint(other) in text
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in text
    assert known.read_bytes() == before
    assert "Accepted" not in (server.folder / "log").read_text()


def test_a_pinned_key_alone_counts(
    server: Server, my_key: Path, known: Path, tmp_path: Path
) -> None:
    known.parent.mkdir()
    known.write_text(f"[127.0.0.1]:{server.port} {public(server.host_keys['ed25519'])}\n")
    other = make_key(tmp_path / "other")
    with pytest.raises(HostKeyError, match="pinned in the inventory"):
        log_in(server, my_key, known, YES, host_keys=(public(other),))
    log_in(server, my_key, tmp_path / "none", host_keys=(public(server.host_keys["ed25519"]),))


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_the_server_is_asked_for_the_kind_of_key_that_we_know(
    server: Server, my_key: Path, known: Path, kind: str
) -> None:
    """It has all three; one that we do not know is no change of the one that we know."""
    known.parent.mkdir()
    known.write_text(f"[127.0.0.1]:{server.port} {public(server.host_keys[kind])}\n")
    log_in(server, my_key, known)
    log_in(server, my_key, known, host_keys=(public(server.host_keys[kind]),))


def test_hashed_names_are_found(server: Server, my_key: Path, known: Path) -> None:
    known.parent.mkdir()
    known.write_text(f"[127.0.0.1]:{server.port} {public(server.host_keys['ed25519'])}\n")
    subprocess.run(
        ["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, timeout=20, capture_output=True
    )
    assert "127.0.0.1" not in known.read_text()
    log_in(server, my_key, known)


def test_an_alias_names_the_key(server: Server, my_key: Path, known: Path) -> None:
    log_in(server, my_key, known, YES, host_key_alias="the-box")
    assert known.read_text().startswith("the-box ssh-ed25519 ")
    log_in(server, my_key, known, host_key_alias="the-box")
    with pytest.raises(HostKeyError, match="not known"):
        log_in(server, my_key, known)


def test_the_machines_own_file_counts_too(
    server: Server, my_key: Path, known: Path, tmp_path: Path
) -> None:
    system = tmp_path / "ssh_known_hosts"
    system.write_text(f"[127.0.0.1]:{server.port} {public(server.host_keys['ed25519'])}\n")
    log_in(server, my_key, known, global_known_hosts=(str(system),))


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xfe\x00\n",
        b"host ssh-ed25519 !!!notbase64\n",
        b"host ssh-ed25519 AAAA\n",
        b"host\n",
        b"# comment\n\n   \n",
        b"@cert-authority *.example ssh-ed25519 AAAA\n",
        b"host ssh-nonsense AAAAC3NzaC1lZDI1NTE5AAAAIBaCZ4gS\n",
        b"|1|bad|bad ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBaCZ4gS\n",
    ],
)
def test_lines_that_make_no_sense_are_passed_over(
    server: Server, my_key: Path, known: Path, junk: bytes
) -> None:
    """As ssh does: one bad line in known_hosts must not keep us from every machine."""
    known.parent.mkdir()
    line = f"[127.0.0.1]:{server.port} {public(server.host_keys['ed25519'])}\n".encode()
    known.write_bytes(junk + line + junk)
    log_in(server, my_key, known)


def test_a_revoked_key_is_never_accepted(server: Server, my_key: Path, known: Path) -> None:
    known.parent.mkdir()
    known.write_text(f"@revoked * {public(server.host_keys['ed25519'])}\n")
    with pytest.raises(HostKeyError, match="revoked"):
        log_in(server, my_key, known, YES)


@pytest.mark.parametrize("pattern", ["*", "[127.0.0.?]:*", "other,[127.*]:*"])
def test_patterns_of_names_are_found(
    server: Server, my_key: Path, known: Path, pattern: str
) -> None:
    known.parent.mkdir()
    known.write_text(f"{pattern} {public(server.host_keys['ed25519'])}\n")
    log_in(server, my_key, known)


def test_accepted_keys_are_appended_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("# mine, without a newline at its end")
    keys = [parse_key(public(make_key(tmp_path / f"k{i}"))) for i in range(3)]

    def add(number: int) -> None:
        policy = HostKeyPolicy(
            f"h{number}", f"h{number}", pinned=[], files=[path], remember=path,
            decide=lambda *a: True,
        )  # fmt: skip
        policy.missing_host_key(None, f"h{number}", keys[number % 3])  # type: ignore[arg-type]

    threads = [threading.Thread(target=add, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    first, *lines = path.read_text().splitlines()
    assert first == "# mine, without a newline at its end"
    assert sorted(line.split()[0] for line in lines) == sorted(f"h{i}" for i in range(40))
    assert all(len(line.split()) == 3 for line in lines)


def test_where_the_user_keeps_no_file_nothing_is_written(tmp_path: Path) -> None:
    """UserKnownHostsFile none: an accepted key must not end in the machine's own file."""
    shared = tmp_path / "ssh_known_hosts"
    policy = HostKeyPolicy(
        "h", "h", pinned=[], files=[shared], remember=None, decide=lambda *a: True
    )
    key = parse_key(public(make_key(tmp_path / "k")))
    policy.missing_host_key(None, "h", key)  # type: ignore[arg-type]
    assert not shared.exists()


def test_names_in_known_hosts() -> None:
    assert known_hosts_name("box", 22) == "box"
    assert known_hosts_name("::1", 2222) == "[::1]:2222"
