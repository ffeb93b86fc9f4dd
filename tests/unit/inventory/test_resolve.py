"""How a host is reached: inventory, ssh's configuration, ssh's defaults."""

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import UnreachableError, UsageError
from labctl.inventory.endpoints import Endpoint, publish
from labctl.inventory.model import Host, Inventory
from labctl.inventory.resolve import ResolvedHost, resolve
from labctl.inventory.ssh_config import SshConfig

Load = Callable[[str], Inventory]


@pytest.fixture
def ssh(home: Path) -> Callable[[str], SshConfig]:
    (home / ".ssh").mkdir()

    def write(text: str) -> SshConfig:
        (home / ".ssh" / "config").write_text(text)
        return SshConfig(system_file=None)

    return write


Ssh = Callable[[str], SshConfig]


def test_defaults_of_ssh(home: Path, ssh: Ssh) -> None:
    (home / ".ssh" / "id_ed25519").touch()
    (home / ".ssh" / "id_rsa").touch()
    found = resolve(Host("GPU1"), config=ssh(""))
    assert (found.hostname, found.port, found.user) == ("gpu1", 22, getpass.getuser())
    assert found.identity_files == (f"{home}/.ssh/id_rsa", f"{home}/.ssh/id_ed25519")
    assert found.user_known_hosts == (f"{home}/.ssh/known_hosts", f"{home}/.ssh/known_hosts2")
    assert (found.jumps, found.proxy_command, found.connect_timeout) == ((), None, None)
    assert found.strict_host_key_checking == "ask"


CONFIG = """
Host gpu1
  User fromconfig
  Port 2200
  HostName real.example
  IdentityFile ~/.ssh/%r-%n
Host 192.0.2.*
  ConnectTimeout 1m30s
  UserKnownHostsFile ~/kh "/k/%h"
  IdentitiesOnly yes
  HostKeyAlias alias
"""


def test_what_the_inventory_does_not_say(home: Path, ssh: Ssh) -> None:
    found = resolve(Host("gpu1"), config=ssh(CONFIG))
    assert (found.hostname, found.port, found.user) == ("real.example", 2200, "fromconfig")
    assert found.identity_files == (f"{home}/.ssh/fromconfig-gpu1",)
    assert found.connect_timeout is None


def test_what_the_inventory_says_wins(ssh: Ssh) -> None:
    host = Host("gpu1", address="192.0.2.7", user="lab", port=22, identity_files=("/k/own",))
    found = resolve(host, config=ssh(CONFIG))
    assert (found.hostname, found.port, found.user) == ("192.0.2.7", 22, "lab")
    assert found.identity_files == ("/k/own",)


def test_blocks_for_the_name_and_for_the_address_both_apply(home: Path, ssh: Ssh) -> None:
    found = resolve(Host("gpu1", address="192.0.2.7"), config=ssh(CONFIG))
    assert (found.user, found.port, found.connect_timeout) == ("fromconfig", 2200, 90.0)
    assert found.user_known_hosts == (f"{home}/kh", "/k/192.0.2.7")
    assert (found.identities_only, found.host_key_alias) == (True, "alias")


def test_identity_none_offers_no_key(home: Path, ssh: Ssh) -> None:
    config = ssh("IdentityFile none\n")
    (home / ".ssh" / "id_rsa").touch()
    assert resolve(Host("a"), config=config).identity_files == ()


def jumps(found: ResolvedHost) -> list[tuple[str, str, int]]:
    return [(hop.user, hop.hostname, hop.port) for hop in found.jumps]


def test_jump_through_a_host_of_the_inventory(load: Load, ssh: Ssh) -> None:
    lab = load(
        "hosts:\n  a: {proxy_jump: 'gate,me@second:2022'}\n"
        "  gate: {address: 192.0.2.1, port: 2222, user: g, proxy_jump: outer}\n"
    )
    config = ssh("Host outer\n HostName outer.example\n User o\nHost second\n ProxyJump no-more\n")
    found = resolve(lab.hosts["a"], lab, config=config)
    # As with ssh -J: the first hop goes its own way, the others through the one before.
    assert jumps(found) == [
        ("o", "outer.example", 22),
        ("g", "192.0.2.1", 2222),
        ("me", "second", 2022),
    ]
    assert found.proxy_jump == "o@outer.example:22,g@192.0.2.1:2222,me@second:2022"


def test_jump_from_the_configuration_and_none(load: Load, ssh: Ssh) -> None:
    config = ssh("Host *.lab !gate.lab\n ProxyJump [2001:db8::1]:22\n ProxyCommand never\n")
    lab = load("hosts: {a.lab: {user: u}, b.lab: {proxy_jump: none}, gate.lab: {}}")
    found = resolve(lab.hosts["a.lab"], lab, config=config)
    assert jumps(found) == [(getpass.getuser(), "2001:db8::1", 22)]
    assert found.proxy_jump == f"{getpass.getuser()}@[2001:db8::1]:22"
    assert found.proxy_command is None
    assert resolve(lab.hosts["b.lab"], lab, config=config).jumps == ()
    assert resolve(lab.hosts["gate.lab"], lab, config=config).jumps == ()


def test_proxy_command_is_expanded(ssh: Ssh) -> None:
    config = ssh("ProxyCommand nc -x '%n' %h %p %r %%\n")
    found = resolve(Host("a", address="192.0.2.7", user="u"), config=config)
    assert found.proxy_command == "nc -x 'a' 192.0.2.7 22 u %"


def test_none_in_the_inventory_is_the_direct_way(ssh: Ssh) -> None:
    config = ssh("ProxyCommand nc %h %p\n")
    found = resolve(Host("a", proxy_jump="none"), config=config)
    assert (found.jumps, found.proxy_command) == ((), None)


def test_group_that_jumps_through_its_own_member(load: Load, ssh: Ssh) -> None:
    lab = load("groups: {g: {proxy_jump: gate}}\nhosts: {a: {groups: [g]}, gate: {groups: [g]}}\n")
    with pytest.raises(UsageError, match=r"loop .*gate -> gate.*'proxy_jump: none' for gate"):
        resolve(lab.hosts["a"], lab, config=ssh(""))


def test_virtual_host_takes_nothing_from_ssh(load: Load, tmp_path: Path, ssh: Ssh) -> None:
    config = ssh("User x\nPort 1\nProxyJump gate\nIdentityFile /k\nUserKnownHostsFile /kh\n")
    text = "hosts: {box1: {virtual: box}}"
    with pytest.raises(UnreachableError, match=r"box1: .*not running; .*labctl lab up box1"):
        resolve(load(text).hosts["box1"], config=config)
    publish(
        tmp_path / "inventory.yaml",
        Endpoint("box1", "box", "127.0.0.1", 4022, "root", "pw", ("ssh-ed25519 A",), "/id"),
    )
    found = resolve(load(text).hosts["box1"], config=config)
    assert (found.hostname, found.port, found.user) == ("127.0.0.1", 4022, "root")
    assert (found.password, found.host_keys) == ("pw", ("ssh-ed25519 A",))
    assert (found.identity_files, found.identities_only) == (("/id",), True)
    assert (found.jumps, found.user_known_hosts, found.options) == ((), (), {})
    assert "'pw'" not in repr(found)


def test_bad_port_is_named(ssh: Ssh) -> None:
    with pytest.raises(UsageError, match="a: '99999' is not a port"):
        resolve(Host("a"), config=ssh("Port 99999\n"))
