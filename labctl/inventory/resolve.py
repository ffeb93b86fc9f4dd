"""How a host is reached: the inventory says it, else ``~/.ssh/config``, else ssh's defaults.

A ``Host`` block applies to an inventory host when its patterns match the host's name or its
address, so both ``Host gpu1`` and ``Host 192.0.2.*`` do what their author expects. Machines of
the virtual lab take nothing from ssh's configuration.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from labctl.errors import UnreachableError, UsageError
from labctl.inventory.model import Host, Inventory
from labctl.inventory.ssh_config import Options, SshConfig
from labctl.inventory.ssh_match import MatchError, expand, expansions, split_arguments
from labctl.inventory.textfile import is_file

SSH_PORT = 22
# ssh.c and pathnames.h of OpenSSH 9.2, in the order in which ssh tries them.
DEFAULT_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:@\[\]]+))(?::(?P<port>\d{1,5}))?/?"
)
_MAX_HOPS = 16


@dataclass(frozen=True)
class ResolvedHost:
    """Everything that is needed to connect to a host.

    Attributes:
        name: Its name in the inventory (or of the jump host, as it was written).
        hostname: Host name or address to connect to.
        port: TCP port.
        user: Login user.
        identity_files: Private keys to offer, absolute; ssh's default ones that exist where
            nobody names any.
        identities_only: Offer no other keys of the agent.
        identity_agent: Socket of the agent, ``none``, or None for ``$SSH_AUTH_SOCK``.
        jumps: Hosts to go through, first to last, each resolved.
        proxy_command: Command whose standard input and output are the connection; only used
            where there are no jumps.
        connect_timeout: Seconds to wait for the connection, or None where nobody says.
        host_key_alias: Name under which known_hosts lists the host, or None.
        user_known_hosts: The user's files of known host keys.
        global_known_hosts: The machine's files of known host keys.
        strict_host_key_checking: As in ssh_config(5) (``ask`` where nobody says).
        host_keys: Public host keys that are the only ones accepted, ``type base64``.
        sudo: Become root through sudo.
        password: Password of a throw-away virtual machine.
        virtual: Kind of virtual machine, or None.
        options: What else ssh's configuration says, keywords in lower case.
    """

    name: str
    hostname: str
    port: int
    user: str
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    jumps: tuple[ResolvedHost, ...] = ()
    proxy_command: str | None = None
    connect_timeout: float | None = None
    host_key_alias: str | None = None
    user_known_hosts: tuple[str, ...] = ()
    global_known_hosts: tuple[str, ...] = ()
    strict_host_key_checking: str = "ask"
    host_keys: tuple[str, ...] = ()
    sudo: bool = False
    password: str | None = field(default=None, repr=False)
    virtual: str | None = None
    options: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def proxy_jump(self) -> str | None:
        """The jump hosts as ``ssh -J`` takes them, or None."""
        hops = [
            f"{hop.user}@{f'[{hop.hostname}]' if ':' in hop.hostname else hop.hostname}:{hop.port}"
            for hop in self.jumps
        ]
        return ",".join(hops) or None


def resolve(
    host: Host, inventory: Inventory | None = None, *, config: SshConfig | None = None
) -> ResolvedHost:
    """Return how ``host`` is reached.

    Args:
        host: A host of the inventory.
        inventory: Where names in ``proxy_jump`` are looked up first.
        config: ssh's configuration; the user's and the machine's if not given. Pass one object
            for many hosts, so that the files are read once.

    Raises:
        UnreachableError: A virtual machine that is not running.
        UsageError: ssh's configuration cannot be parsed, or jump hosts form a loop.
    """
    return _resolve(host, inventory, config or SshConfig(), trail=())


def _resolve(
    host: Host, inventory: Inventory | None, config: SshConfig, trail: tuple[str, ...]
) -> ResolvedHost:
    if host.virtual:
        return _virtual(host)
    if host.name in trail or len(trail) > _MAX_HOPS:
        raise UsageError(
            f"its jump hosts form a loop ({' -> '.join([*trail, host.name])})",
            thing=trail[0],
            action=f"write 'proxy_jump: none' for {host.name}, or correct ~/.ssh/config",
        )
    local_user = _local_user()
    options = config.lookup(
        (host.name, host.address) if host.address else (host.name,),
        preset=_preset(host),
        user=local_user,
    )
    # ssh itself: HostName may contain %h, which is the name that was looked up.
    hostname = expand(options.get("hostname") or host.name, {"h": host.name, "%": "%"}).lower()
    port = _port(options, host.name)
    user = options.get("user") or local_user
    tokens = expansions(
        host=hostname, original=host.name, port=str(port), user=user, local_user=local_user
    )

    def paths(text: str) -> tuple[str, ...]:
        return tuple(_expand_path(word, tokens) for word in _words(text) if word.lower() != "none")

    jump = options.get("proxyjump")
    command = options.get("proxycommand")
    # "none" in the inventory means the direct way; in ssh's own files a ProxyCommand may follow.
    if command and (command.lower() == "none" or host.proxy_jump == "none"):
        command = None
    agent = options.get("identityagent")
    return ResolvedHost(
        name=host.name,
        hostname=hostname,
        port=port,
        user=user,
        identity_files=_identities(host, options, tokens),
        identities_only=_yes(options, "identitiesonly"),
        identity_agent=_expand_path(agent, tokens) if agent else None,
        jumps=_jumps(host, expand(jump, tokens), inventory, config, trail) if jump else (),
        proxy_command=expand(command, tokens) if command else None,
        connect_timeout=_seconds(options.get("connecttimeout")),
        host_key_alias=options.get("hostkeyalias"),
        user_known_hosts=paths(options.get("userknownhostsfile") or _USER_KNOWN_HOSTS),
        global_known_hosts=paths(options.get("globalknownhostsfile") or _GLOBAL_KNOWN_HOSTS),
        strict_host_key_checking=(options.get("stricthostkeychecking") or "ask").lower(),
        host_keys=host.host_keys,
        sudo=host.sudo,
        options=dict(options.values),
    )


def _virtual(host: Host) -> ResolvedHost:
    if not host.address or not host.port:
        raise UnreachableError(
            "this virtual machine is not running",
            thing=host.name,
            action=f"start it with 'labctl lab up {host.name}'",
        )
    return ResolvedHost(
        name=host.name,
        hostname=host.address,
        port=host.port,
        user=host.user or "root",
        identity_files=host.identity_files,
        # The person's own keys and agent are none of a throw-away machine's business.
        identities_only=True,
        identity_agent="none",
        strict_host_key_checking="yes",
        host_keys=host.host_keys,
        sudo=host.sudo,
        password=host.password,
        virtual=host.virtual,
    )


def _preset(host: Host) -> Options:
    """Return what the inventory says, as if it stood on ssh's command line."""
    said = {
        "hostname": host.address,
        "port": str(host.port) if host.port else None,
        "user": host.user,
        "proxyjump": host.proxy_jump,
    }
    return Options({key: value for key, value in said.items() if value})


def _jumps(
    host: Host,
    text: str,
    inventory: Inventory | None,
    config: SshConfig,
    trail: tuple[str, ...],
) -> tuple[ResolvedHost, ...]:
    """Return the hops of ``text``; only the first one takes its own jump hosts, as with ssh -J."""
    if text.lower() == "none":
        return ()
    chain: list[ResolvedHost] = []
    for number, part in enumerate(text.split(",")):
        match = _HOP.fullmatch(part.strip())
        if not match:
            raise UsageError(
                f"the jump host '{part}' cannot be understood",
                thing=host.name,
                action="write [user@]host[:port]",
            )
        name = match["six"] or match["host"]
        known = inventory.hosts.get(name) if inventory else None
        hop = known or Host(name)
        changed = replace(
            hop,
            user=match["user"] or hop.user,
            port=int(match["port"]) if match["port"] else hop.port,
            proxy_jump=hop.proxy_jump if number == 0 else "none",
        )
        resolved = _resolve(changed, inventory, config, (*trail, host.name))
        chain += [*resolved.jumps, resolved]
    return tuple(chain)


def _identities(host: Host, options: Options, tokens: dict[str, str]) -> tuple[str, ...]:
    if host.identity_files:
        return host.identity_files
    said = options.lists.get("identityfile")
    if said:
        return tuple(_expand_path(one, tokens) for one in said if one.lower() != "none")
    home = Path.home() / ".ssh"
    return tuple(str(home / name) for name in DEFAULT_IDENTITIES if is_file(home / name))


def _expand_path(text: str, tokens: dict[str, str]) -> str:
    """Expand ``~``, ``${VARIABLE}`` and percent tokens in a path, as ssh does."""
    text = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match.group(1), ""), text)
    return os.path.expanduser(expand(text, tokens))  # noqa: PTH111 - "none" and names stay text


def _words(text: str) -> list[str]:
    try:
        return split_arguments(text)
    except MatchError:
        return [text]


def _port(options: Options, name: str) -> int:
    text = options.get("port")
    if text is None:
        return SSH_PORT
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 65535:
        raise UsageError(f"'{text}' is not a port", thing=name, action="correct ~/.ssh/config")
    return int(text)


def _seconds(text: str | None) -> float | None:
    """Return a time of sshd_config(5), TIME FORMATS, such as ``10`` or ``1m30s``, in seconds."""
    parts = re.findall(r"(\d{1,9})([smhdwSMHDW]?)", text or "")
    if not text or "".join(number + unit for number, unit in parts) != text:
        return None
    factors = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    return float(sum(int(number) * factors[unit.lower()] for number, unit in parts)) or None


def _yes(options: Options, keyword: str) -> bool:
    return (options.get(keyword) or "no").lower() in ("yes", "true")


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry in passwd
        return str(os.getuid())
