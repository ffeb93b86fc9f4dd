"""Connections that are begun ahead: used once, never trusted more, never left open."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd_server import Server, free_port, make_key, public

from labctl.errors import UnreachableError
from labctl.inventory.resolve import ResolvedHost
from labctl.transport import early as early_module
from labctl.transport.early import EarlyConnections
from labctl.transport.hostkeys import HostKeyError
from labctl.transport.ssh import Access, connect

Serve = Callable[..., Server]


@pytest.fixture
def early() -> Iterator[EarlyConnections]:
    one = EarlyConnections()
    yield one
    one.close()


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """Return a socket that listens on 127.0.0.1."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        listening.settimeout(20)
        yield listening


def at(door: socket.socket, **more: object) -> ResolvedHost:
    fields = {"name": "box", "hostname": "127.0.0.1", "port": door.getsockname()[1], "user": "u"}
    return ResolvedHost(**{**fields, **more})  # type: ignore[arg-type]


def test_the_connection_that_was_begun_is_the_one_that_is_used(
    serve: Serve, my_key: Path, early: EarlyConnections
) -> None:
    server = serve(extra="LogLevel DEBUG1")
    server.let_in(my_key)
    target = server.target(identity_files=(str(my_key),))
    early.open([target], timeout=10)
    session = connect(target, Access(early=early))
    assert session.run_script("echo fine", deadline=20).output.endswith(b"fine\n")
    session.close()
    again = connect(target, Access(early=early))  # nothing was begun for a second one
    again.close()
    assert (server.folder / "log").read_text().count("Connection from") == 2


def test_a_host_key_is_verified_all_the_same(
    serve: Serve, my_key: Path, tmp_path: Path, early: EarlyConnections
) -> None:
    server = serve()
    server.let_in(my_key)
    other = public(make_key(tmp_path / "other"))
    target = server.target(identity_files=(str(my_key),), host_keys=(other,))
    early.open([target], timeout=10)
    with pytest.raises(HostKeyError, match="has changed"):
        connect(target, Access(early=early))


def test_nobody_there_is_told_as_without(early: EarlyConnections) -> None:
    port = free_port()
    target = ResolvedHost("box", "127.0.0.1", port, "u")
    early.open([target], timeout=10)
    with pytest.raises(UnreachableError, match=f"connection refused by 127.0.0.1 port {port}"):
        connect(target, Access(early=early))


def test_an_unknown_name_is_told_as_without(early: EarlyConnections) -> None:
    target = ResolvedHost("box", "no-such-host.invalid", 22, "u")
    early.open([target], timeout=10)
    with pytest.raises(UnreachableError, match=r"no such host: no-such-host\.invalid"):
        connect(target, Access(early=early))


def test_what_nobody_took_is_closed(door: socket.socket) -> None:
    early = EarlyConnections()
    early.open([at(door)], timeout=10)
    guest, _ = door.accept()
    early.close()
    guest.settimeout(20)
    assert guest.recv(1) == b""
    assert early.take(at(door), timeout=0) is None


def test_an_old_connection_is_not_used(
    door: socket.socket, early: EarlyConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    early.open([at(door)], timeout=10)
    guest, _ = door.accept()
    monkeypatch.setattr(early_module, "FRESH_S", -1.0)
    assert early.take(at(door), timeout=20) is None
    guest.settimeout(20)
    assert guest.recv(1) == b""


def test_two_names_of_one_address_get_one_each(
    door: socket.socket, early: EarlyConnections
) -> None:
    early.open([at(door), at(door, name="alias")], timeout=10)
    first = early.take(at(door), timeout=20)
    second = early.take(at(door, name="alias"), timeout=20)
    assert first and second and first is not second
    assert early.take(at(door), timeout=20) is None
    first.close()
    second.close()


def test_machines_behind_others_are_passed_over(
    door: socket.socket, early: EarlyConnections
) -> None:
    hop = ResolvedHost("hop", "127.0.0.1", 1, "u")
    behind = [at(door, jumps=(hop,)), at(door, proxy_command="nc x 22")]
    early.open(behind, timeout=10)
    assert early.take(behind[0], timeout=0) is None


def test_one_that_does_not_come_in_time_is_hung_up_on(door: socket.socket) -> None:
    early = EarlyConnections()
    early.open([at(door)], timeout=10)
    early._waiting[(at(door).hostname, at(door).port)][0].result(20)
    pending: early_module.Future[early_module._Opened] = early_module.Future()
    early._waiting[(at(door).hostname, at(door).port)] = [pending]
    with pytest.raises(TimeoutError):
        early.take(at(door), timeout=0.01)
    ours, theirs = socket.socketpair()
    pending.set_result(early_module._Opened(ours, 0.0))
    theirs.settimeout(20)
    assert theirs.recv(1) == b""
    theirs.close()


def test_the_cipher_needs_no_sum_of_its_own(serve: Serve, my_key: Path) -> None:
    server = serve()
    server.let_in(my_key)
    session = connect(server.target(identity_files=(str(my_key),)), Access())
    assert session._connection.transport.remote_cipher == "aes128-gcm@openssh.com"
    session.close()


def test_a_server_with_other_ciphers_only_is_reached_too(serve: Serve, my_key: Path) -> None:
    server = serve(extra="Ciphers aes256-ctr")
    server.let_in(my_key)
    session = connect(server.target(identity_files=(str(my_key),)), Access())
    assert session.run_script("echo fine", deadline=20).output == b"fine\n"
    session.close()
