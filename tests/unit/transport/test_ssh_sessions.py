"""Sessions against a real OpenSSH server on loopback."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd_server import Server, free_port, make_key, public

from labctl.errors import UnreachableError
from labctl.inventory.resolve import ResolvedHost
from labctl.transport.hostkeys import HostKeyError
from labctl.transport.keys import ensure_own_identity
from labctl.transport.session import AuthenticationError, ScriptCancelledError
from labctl.transport.ssh import Access, connect

Serve = Callable[..., Server]
QUICK = Access(connect_timeout=3.0)


@pytest.fixture
def server(serve: Serve, my_key: Path) -> Server:
    """Return a server that lets `my_key` in."""
    one = serve()
    one.let_in(my_key)
    return one


@contextlib.contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """Yield a port where somebody listens who says ``answer``, or nothing and never hangs up."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(8)
        guests: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = door.accept()
                    guests.append(guest)
                    if answer is not None:
                        guest.sendall(answer)
                        guest.close()

        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
        for guest in guests:
            guest.close()


# -- in ------------------------------------------------------------------------------------------


def test_a_script_runs_and_its_output_and_status_come_back(server: Server, my_key: Path) -> None:
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    try:
        done = session.run_script("echo out; echo err >&2; exit 3", deadline=20)
        assert (done.exit_status, done.output) == (3, b"out\nerr\n")
        big = session.run_script("head -c 3000000 /dev/zero | tr '\\0' x", deadline=60)
        assert len(big.output) == 3000000
        assert session.round_trips == 2
    finally:
        session.close()
        session.close()


def test_a_large_script_arrives_whole(server: Server, my_key: Path) -> None:
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    padding = "# " + "x" * 70 + "\n"
    done = session.run_script(padding * 50_000 + "echo end\n", deadline=60)
    session.close()
    assert done.output == b"end\n"


def test_output_arrives_as_it_is_made(server: Server, my_key: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    seen: list[bytes] = []

    def on_output(data: bytes) -> None:
        seen.append(data)
        if b"".join(seen) == b"first\n":
            (tmp_path / "gate").write_text("\n")  # the script waits for us, so this came early

    done = session.run_script(
        f"echo first; read x <{tmp_path}/gate; echo second", deadline=20, on_output=on_output
    )
    session.close()
    assert done.output == b"first\nsecond\n"


def test_nothing_of_a_script_is_seen_in_the_process_list(server: Server, my_key: Path) -> None:
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    done = session.run_script("secret=hunter2-$$\ncat /proc/$$/cmdline", deadline=20)
    session.close()
    assert b"hunter2" not in done.output
    assert done.output == b"sh\0-s\0"


def test_the_deadline_ends_a_silent_script(server: Server, my_key: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="no end of the script within 1 s"):
        session.run_script(f"read x <{tmp_path}/gate", deadline=0.6)
    session.close()
    assert time.monotonic() - began < 5
    os.close(os.open(tmp_path / "gate", os.O_RDWR))  # let go of the shell that still reads


def test_calling_off_does_not_wait_for_a_silent_script(
    server: Server, my_key: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    off = threading.Event()
    threading.Timer(0.2, off.set).start()
    began = time.monotonic()
    with pytest.raises(ScriptCancelledError):
        session.run_script(f"read x <{tmp_path}/gate", deadline=60, cancelled=off.is_set)
    session.close()
    assert time.monotonic() - began < 5
    os.close(os.open(tmp_path / "gate", os.O_RDWR))


def test_a_server_that_dies_in_mid_script(server: Server, my_key: Path) -> None:
    session = connect(server.target(identity_files=(str(my_key),)), QUICK)
    # The script ends the server's process for this connection: its own great-grandparent.
    kill = (
        'p=$$; while read -r n < /proc/$p/comm && [ "$n" != sshd ]; do'
        " p=$(sed -n 's/^PPid:\\t//p' /proc/$p/status); done; echo begun; kill -9 $p; read x"
    )
    with pytest.raises(UnreachableError, match=r"broke|no end"):
        done = session.run_script(kill, deadline=20)
        assert done.exit_status == -1
        session.run_script("echo again", deadline=20)
    session.close()


def test_a_login_shell_that_talks(serve: Serve, my_key: Path) -> None:
    one = serve(extra="Banner none\nForceCommand echo noise; $SSH_ORIGINAL_COMMAND")
    one.let_in(my_key)
    session = connect(one.target(identity_files=(str(my_key),)), QUICK)
    # "exec sh -s" through the noise
    done = session.run_script("echo script", deadline=20)
    session.close()
    assert done.output.endswith(b"script\n") or done.exit_status != 0


def test_twenty_connections_at_once(server: Server, my_key: Path) -> None:
    target = server.target(identity_files=(str(my_key),))
    outputs: list[bytes] = []

    def one() -> None:
        session = connect(target, QUICK)
        outputs.append(session.run_script("echo there", deadline=30).output)
        session.close()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outputs == [b"there\n"] * 20


# -- keys ----------------------------------------------------------------------------------------


def test_labctls_own_key_is_offered_too(serve: Serve) -> None:
    one = serve()
    one.let_in(ensure_own_identity())
    connect(one.target(), QUICK).close()


def test_no_key_that_is_let_in(serve: Serve, my_key: Path) -> None:
    one = serve()
    with pytest.raises(AuthenticationError, match=r"was not let in.*rerun with --ask-pass"):
        connect(one.target(identity_files=(str(my_key),)), QUICK)


def test_the_password_is_asked_for_only_where_no_key_was_let_in(
    server: Server, my_key: Path
) -> None:
    asked: list[str] = []

    def password(name: str) -> None:
        asked.append(name)

    access = Access(password=password, connect_timeout=3)
    connect(server.target(identity_files=(str(my_key),)), access).close()
    assert asked == []
    with pytest.raises(AuthenticationError):
        connect(server.target(), access)
    assert asked == ["box"]


def test_a_proof_by_key_never_asks_for_a_password(server: Server) -> None:
    def password(name: str) -> str:
        raise AssertionError("a password was asked for")

    access = Access(password=password, connect_timeout=3)
    with pytest.raises(AuthenticationError):
        connect(server.target(password="from the lab"), access, keys_only=True)


def test_a_key_with_a_passphrase_is_named(server: Server, tmp_path: Path) -> None:
    locked = make_key(tmp_path / "locked", passphrase="long enough")
    server.let_in(locked)
    with pytest.raises(
        AuthenticationError, match=r"locked: has a passphrase; load it with ssh-add"
    ):
        connect(server.target(identity_files=(str(locked),)), QUICK)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff\x00" * 50, b"-----BEGIN RSA PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_named_and_the_next_one_tried(
    server: Server, my_key: Path, tmp_path: Path, content: bytes
) -> None:
    bad = tmp_path / "bad_key"
    bad.write_bytes(content)
    connect(server.target(identity_files=(str(bad), str(my_key))), QUICK).close()
    with pytest.raises(AuthenticationError, match="bad_key"):
        connect(server.target(identity_files=(str(bad),)), QUICK)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the socket of an ssh-agent of the test's own, also in the environment."""
    path = f"/tmp/labctl-agent-{os.getpid()}-{time.monotonic_ns()}"  # a socket's path is short
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 20
    while not Path(path).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    yield path
    process.terminate()
    process.wait(20)
    Path(path).unlink(missing_ok=True)


def test_a_key_of_the_agent(server: Server, my_key: Path, agent: str) -> None:
    subprocess.run(["ssh-add", "-q", str(my_key)], check=True, timeout=20)
    connect(server.target(), QUICK).close()


@pytest.mark.parametrize("more", [{"identities_only": True}, {"identity_agent": "none"}])
def test_an_agent_that_is_not_wanted_is_not_asked(
    server: Server, my_key: Path, agent: str, more: dict[str, object]
) -> None:
    subprocess.run(["ssh-add", "-q", str(my_key)], check=True, timeout=20)
    with pytest.raises(AuthenticationError):
        connect(server.target(**more), QUICK)


# -- not in --------------------------------------------------------------------------------------


def here(port: int, **more: object) -> ResolvedHost:
    return ResolvedHost(name="box", hostname="127.0.0.1", port=port, user="lab", **more)  # type: ignore[arg-type]


def test_nobody_listens() -> None:
    port = free_port()
    with pytest.raises(UnreachableError, match=f"connection refused by 127.0.0.1 port {port}"):
        connect(here(port), QUICK)


def test_a_virtual_machine_that_does_not_run() -> None:
    with pytest.raises(UnreachableError, match="start it: labctl lab up box"):
        connect(here(free_port(), virtual="box"), QUICK)


def test_somebody_listens_and_says_nothing() -> None:
    began = time.monotonic()
    with listener(None) as port, pytest.raises(UnreachableError) as caught:
        connect(here(port), Access(connect_timeout=1.0))
    assert time.monotonic() - began < 8
    assert f"127.0.0.1 port {port}" in str(caught.value)
    assert "is it on" in str(caught.value)


def test_a_machine_that_does_not_even_take_the_connection() -> None:
    """A full queue of connections drops what comes next, as a machine that is off does."""
    with socket.socket() as door, contextlib.ExitStack() as guests:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        port = door.getsockname()[1]
        for _ in range(3):
            guest = guests.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=f"no answer from 127.0.0.1 port {port}"):
            connect(here(port), Access(connect_timeout=0.5))
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x1b]0;owned\x07\x00\xff" * 20, b"x" * 70000],
)
def test_somebody_listens_who_is_no_ssh_server(answer: bytes) -> None:
    with listener(answer) as port, pytest.raises(UnreachableError) as caught:
        connect(here(port), QUICK)
    assert "no SSH with" in str(caught.value) or "no answer" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_nobody_knows() -> None:
    target = ResolvedHost(name="box", hostname="no-such-host.invalid", port=22, user="lab")
    with pytest.raises(UnreachableError, match=r"no such host: no-such-host\.invalid"):
        connect(target, QUICK)


# -- jump hosts ----------------------------------------------------------------------------------


def test_through_two_jump_hosts(serve: Serve, my_key: Path) -> None:
    servers = [serve(), serve(), serve()]
    for one in servers:
        one.let_in(my_key)
    mine = (str(my_key),)
    first = servers[0].target(name="first", identity_files=mine)
    second = servers[1].target(name="second", identity_files=mine)
    target = servers[2].target(identity_files=mine, jumps=(first, second))
    session = connect(target, QUICK)
    done = session.run_script("echo $SSH_CONNECTION", deadline=20)
    session.close()
    assert done.output.split()[3] == str(servers[2].port).encode()
    # Each saw one login, and each next one came from the machine before it.
    for one in servers:
        assert (one.folder / "log").read_text().count("Accepted publickey") == 1


def test_a_jump_host_that_does_not_answer_is_named(serve: Serve, my_key: Path) -> None:
    one = serve()
    one.let_in(my_key)
    jump = ResolvedHost(name="bastion", hostname="127.0.0.1", port=free_port(), user="lab")
    with pytest.raises(UnreachableError, match="bastion: connection refused"):
        connect(one.target(identity_files=(str(my_key),), jumps=(jump,)), QUICK)


def test_a_target_that_the_jump_host_does_not_reach(serve: Serve, my_key: Path) -> None:
    one = serve()
    one.let_in(my_key)
    jump = one.target(name="bastion", identity_files=(str(my_key),))
    with pytest.raises(UnreachableError, match=r"^box: "):
        connect(here(free_port(), jumps=(jump,)), QUICK)


def test_a_target_behind_a_jump_host_that_answers_nothing_is_given_up(
    serve: Serve, my_key: Path
) -> None:
    one = serve()
    one.let_in(my_key)
    jump = one.target(name="bastion", identity_files=(str(my_key),))
    began = time.monotonic()
    with listener(None) as port, pytest.raises(UnreachableError, match=r"^box: "):
        connect(here(port, jumps=(jump,)), Access(connect_timeout=1.0))
    assert time.monotonic() - began < 8


def test_a_jump_hosts_key_is_verified_as_well(serve: Serve, my_key: Path, tmp_path: Path) -> None:
    one, two = serve(), serve()
    one.let_in(my_key)
    two.let_in(my_key)
    other = make_key(tmp_path / "other")
    jump = one.target(name="bastion", identity_files=(str(my_key),), host_keys=(public(other),))
    with pytest.raises(HostKeyError, match="bastion: its host key has changed"):
        connect(two.target(identity_files=(str(my_key),), jumps=(jump,)), QUICK)
    assert not re.search("Accepted", (two.folder / "log").read_text())


def test_through_a_proxy_command(server: Server, my_key: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.py"
    pipe.write_text(PIPE)
    command = f"{sys.executable} {pipe} 127.0.0.1 {server.port}"
    target = server.target(identity_files=(str(my_key),), proxy_command=command)
    session = connect(target, QUICK)
    assert session.run_script("echo there", deadline=20).output == b"there\n"
    session.close()


# What nc(1) does, for machines without it.
PIPE = """
import os, select, socket, sys
line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for end in select.select([0, line], [], [])[0]:
        data = os.read(0, 65536) if end == 0 else line.recv(65536)
        if not data:
            sys.exit()
        line.sendall(data) if end == 0 else os.write(1, data)
"""
