"""Sessions over SSH: Fabric's connection on paramiko, with verified host keys and deadlines."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import fabric
import paramiko
from paramiko.auth_strategy import (
    AuthFailure,
    AuthSource,
    AuthStrategy,
    InMemoryPrivateKey,
    Password,
)

from labctl.errors import UnreachableError
from labctl.inventory.resolve import ResolvedHost
from labctl.report.sanitize import clean_line
from labctl.transport.early import EarlyConnections
from labctl.transport.hostkeys import Decide, HostKeyPolicy, known_hosts_name
from labctl.transport.keys import load_identity, own_identity
from labctl.transport.session import AuthenticationError, Session, Stream, Sudo

# RFC 4252 leaves the number of tries to the server; OpenSSH's MaxAuthTries is 6. Keys of an agent
# that would use them all up must not keep the password from being tried.
_MAX_KEYS = 5
# RFC 5647 as OpenSSH names it. With a cipher that authenticates by itself paramiko need not compare
# the sums of packets byte by byte in Python, which is a fifth of its work for a short session.
_FIRST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_KEEPALIVE_S = 15
_DEAD_PEER_MS = 45_000


def _refuse(name: str, kind: str, mark: str) -> bool:
    return False


@dataclass(frozen=True)
class Access:
    """How to get into machines: what a person said once for the whole run.

    Attributes:
        password: Returns the login password of the named machine, or None; called only where no
            key was let in.
        sudo_password: Returns the sudo password of the named machine, or None.
        decide: Asked about unknown host keys; refuses them if not given.
        connect_timeout: Seconds for the TCP connection, and again for the key exchange.
        early: Connections that were begun ahead; used where one leads to the machine.
    """

    password: Callable[[str], str | None] = lambda name: None
    sudo_password: Callable[[str], str | None] = lambda name: None
    decide: Decide = _refuse
    connect_timeout: float = 10.0
    early: EarlyConnections | None = None


class SshSession(Session):
    """An open SSH connection."""

    def __init__(self, name: str, connection: fabric.Connection, sudo: Sudo | None) -> None:
        super().__init__(name, sudo)
        self._connection = connection

    def start(self, command: str) -> Stream:
        """Open a channel and start ``command`` through the login shell."""
        try:
            channel = self._connection.transport.open_session(timeout=30)
            # One ordered stream of bytes: output and error text as a person would see them.
            channel.set_combine_stderr(True)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError, AttributeError) as error:
            raise UnreachableError(
                f"the SSH connection broke: {clean_line(str(error)) or 'closed'}",
                thing=self.name,
                action="run labctl again; it goes on where it stopped",
            ) from error
        return _ChannelStream(self.name, channel)

    def close(self) -> None:
        """Close the connection and those it goes through."""
        close_connection(self._connection)


class _ChannelStream(Stream):
    def __init__(self, name: str, channel: paramiko.Channel) -> None:
        self._name = name
        self._channel = channel

    def send(self, data: bytes) -> None:
        # A command that ended early tells why in its output and exit status.
        with contextlib.suppress(OSError):
            self._channel.sendall(data)

    def send_eof(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def receive(self, timeout: float) -> bytes:
        self._channel.settimeout(timeout)
        return self._channel.recv(65536)

    def exit_status(self, timeout: float) -> int:
        if not self._channel.status_event.wait(timeout):
            raise TimeoutError
        status = self._channel.exit_status
        if status == -1 and not self._channel.get_transport().is_active():
            raise UnreachableError(
                "the SSH connection broke in mid script",
                thing=self._name,
                action="run labctl again; it goes on where it stopped",
            )
        return status

    def close(self) -> None:
        self._channel.close()


def connect(target: ResolvedHost, access: Access, *, keys_only: bool = False) -> SshSession:
    """Connect to ``target``, verify its host key, log in.

    Args:
        target: The machine and the jump hosts on the way to it.
        access: Passwords and decisions.
        keys_only: Do not offer a password, even where one is known. This is how a login by key
            is proved.

    Raises:
        HostKeyError: The host key is unknown and not accepted, or has changed.
        AuthenticationError: No key and no password was let in.
        UnreachableError: Name unknown, no route, refused, or no answer in time.
    """
    gateway: fabric.Connection | str | None = target.proxy_command
    for hop in target.jumps:
        previous = gateway if isinstance(gateway, fabric.Connection) else hop.proxy_command
        gateway = _open(hop, access, previous, keys_only=False)
    connection = _open(target, access, gateway, keys_only=keys_only)
    sudo = None
    if target.sudo and target.user != "root":
        sudo = Sudo(lambda: access.sudo_password(target.name) or target.password)
    return SshSession(target.name, connection, sudo)


def close_connection(connection: fabric.Connection) -> None:
    """Close ``connection``, then the jump hosts behind it."""
    hop: object = connection
    while isinstance(hop, fabric.Connection):
        following = hop.gateway
        with contextlib.suppress(Exception):
            hop.client.close()
        hop = following


class _Strategy(AuthStrategy):
    """The order in which we ask to be let in: keys, the agent, then a password."""

    def __init__(
        self,
        ssh_config: paramiko.SSHConfig,
        username: str,
        *,
        target: ResolvedHost,
        access: Access,
        keys_only: bool,
    ) -> None:
        super().__init__(ssh_config=ssh_config)
        self.username = username
        self.target = target
        self.access = access
        self.keys_only = keys_only
        self.notes: list[str] = []

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield each way to log in; the next one is asked for only when this one failed."""
        tried: set[bytes] = set()
        named = [*map(Path, self.target.identity_files), own_identity()]
        agent = {} if self.target.identities_only else _agent_keys(self.target.identity_agent)
        for path in named:
            key = load_identity(path)
            if isinstance(key, str):
                if path.exists():
                    self.notes.append(key)
                continue
            if key.asbytes() not in tried and len(tried) < _MAX_KEYS:
                tried.add(key.asbytes())
                yield InMemoryPrivateKey(self.username, key)
        for blob, agent_key in agent.items():
            if blob not in tried and len(tried) < _MAX_KEYS:
                tried.add(blob)
                yield InMemoryPrivateKey(self.username, agent_key)
        if self.keys_only:
            return
        password = self.target.password or self.access.password(self.target.name)
        if password is not None:
            yield Password(self.username, lambda: password)


def _agent_keys(agent: str | None) -> Mapping[bytes, paramiko.PKey]:
    # paramiko knows the agent of the environment only.
    if agent is not None and agent != os.environ.get("SSH_AUTH_SOCK"):
        return {}
    try:
        return {key.asbytes(): key for key in paramiko.Agent().get_keys()}
    except (paramiko.SSHException, OSError):
        return {}


# Fabric reads its configuration files unless told not to; a user's fabric.yml is not ours. Making
# one takes as long as a login, so all connections share it; nobody writes to it.
_CONFIG = fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig())


def _transport(
    sock: socket.socket, disabled_algorithms: Mapping[str, Iterable[str]] | None = None
) -> paramiko.Transport:
    made = paramiko.Transport(sock, disabled_algorithms=disabled_algorithms)
    options = made.get_security_options()
    first = [name for name in _FIRST_CIPHERS if name in options.ciphers]
    options.ciphers = (*first, *(name for name in options.ciphers if name not in first))
    return made


def _open(
    target: ResolvedHost,
    access: Access,
    gateway: fabric.Connection | str | None,
    *,
    keys_only: bool,
) -> fabric.Connection:
    strategy = _Strategy(
        _CONFIG.base_ssh_config, target.user, target=target, access=access, keys_only=keys_only
    )
    timeout = target.connect_timeout or access.connect_timeout
    connection = fabric.Connection(
        target.hostname,
        user=target.user,
        port=target.port,
        gateway=gateway,
        config=_CONFIG,
        connect_kwargs={
            "auth_strategy": strategy,
            "transport_factory": _transport,
            # Not Fabric's connect_timeout, which it cuts to whole seconds: 0.5 would be for ever.
            "timeout": timeout,
            "banner_timeout": timeout,
            "auth_timeout": timeout * 2,
            # For the connection that a jump host makes for us; paramiko's default is an hour.
            "channel_timeout": timeout,
        },
    )
    shown = known_hosts_name(target.hostname, target.port)
    policy = HostKeyPolicy(
        target.name,
        target.host_key_alias or shown,
        pinned=target.host_keys,
        files=[*map(Path, (*target.user_known_hosts, *target.global_known_hosts))],
        remember=next(map(Path, target.user_known_hosts), None),
        decide=access.decide if target.strict_host_key_checking != "yes" else _refuse,
    )
    policy.install(connection.client, shown)
    try:
        if access.early and gateway is None:
            connection.connect_kwargs["sock"] = access.early.take(target, timeout=timeout)
        connection.open()
    except paramiko.BadHostKeyException as error:
        close_connection(connection)
        raise policy.changed(error) from None
    except BaseException as error:
        close_connection(connection)
        explained = _explain(error, target, strategy.notes, keys_only=keys_only)
        if explained is None:
            raise
        raise explained from error
    connection.transport.set_keepalive(_KEEPALIVE_S)
    if isinstance(connection.transport.sock, socket.socket):
        # paramiko sends keep-alives and waits for no answer; this lets the kernel do so (tcp(7)).
        with contextlib.suppress(OSError):
            connection.transport.sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS
            )
    return connection


def _explain(
    error: BaseException,
    target: ResolvedHost,
    notes: list[str],
    *,
    keys_only: bool,
) -> UnreachableError | None:
    """Return what ``error`` means to a person, or None for what is not ours to explain."""
    where = f"{target.hostname} port {target.port}"
    if isinstance(error, UnreachableError):
        return None
    if isinstance(error, AuthFailure | paramiko.AuthenticationException):
        why = "".join(f" ({note})" for note in notes)
        action = "" if keys_only else "rerun with --ask-pass, or add your public key there"
        if target.virtual:
            action = f"start it anew: labctl lab reset {target.name}"
        return AuthenticationError(
            f"user {target.user} was not let in{why}", thing=target.name, action=action
        )
    if isinstance(error, socket.gaierror):
        return UnreachableError(
            f"no such host: {target.hostname}",
            thing=target.name,
            action="check 'address' in the inventory, or the name in ~/.ssh/config",
        )
    if isinstance(error, TimeoutError):
        cause = f"no answer from {where}"
    elif isinstance(error, paramiko.ssh_exception.NoValidConnectionsError | ConnectionRefusedError):
        cause = f"connection refused by {where}"
    elif isinstance(error, OSError | EOFError | paramiko.SSHException):
        cause = f"no SSH with {where}: {clean_line(str(error)) or 'closed at once'}"
    else:
        return None
    action = "is it on, and is this its address?"
    if target.virtual:
        action = f"start it: labctl lab up {target.name}"
    return UnreachableError(cause, thing=target.name, action=action)
