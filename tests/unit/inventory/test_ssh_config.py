"""Our evaluation of OpenSSH client configurations, compared with ``ssh -G``."""

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.inventory.ssh_config import MAX_INCLUDE_DEPTH, SshConfig

SSH = shutil.which("ssh")
needs_ssh = pytest.mark.skipif(SSH is None, reason="the OpenSSH client is not installed")

# keyword -> how ssh -G prints it where nobody says anything (None: not printed)
COMPARED = {
    "hostname": None,
    "user": None,
    "port": "22",
    "proxycommand": None,
    "connecttimeout": "none",
    "hostkeyalias": None,
    "identitiesonly": "no",
    "stricthostkeychecking": "ask",
    "userknownhostsfile": "/root/.ssh/known_hosts /root/.ssh/known_hosts2",
    "serveraliveinterval": "0",
    "forwardagent": "no",
}

CONFIGS = {
    "first value wins": (
        "Host gpu1\n  User lab\n  Port 2200\nHost gpu*\n  User other\n  HostName %h.lab.example\n"
        "Host *\n  User last\n  ServerAliveInterval 30\n",
        ["gpu1", "gpu2", "box"],
    ),
    "negation": (
        "Host * !gate !*.example\n  ProxyCommand nc -X 5 %h %p # not a comment\n"
        "Host gate\n  HostName 192.0.2.1\n",
        ["gate", "a.example", "b"],
    ),
    "a question mark is one character": ("Host box?\n User q\n", ["box1", "box12", "box"]),
    "brackets are not special": ("Host box[12]\n User q\n", ["box1", "box[12]"]),
    "patterns know case": ("Host Box\n User q\n", ["box", "Box"]),
    "equals signs and quotes": (
        'Host=a "b"\nUser = "x"\nPort=24\nIdentityFile "/k/with space"\nHostKeyAlias   = z\n',
        ["a", "b", "c"],
    ),
    "trailing comments": ("Host a # b\n  User x # why\n  Port 44 #\n", ["a", "b"]),
    "keywords in any case": ("HOST a\n\tuSER x\n\tconnecttimeout 7\n", ["a"]),
    "identity files add up": (
        "Host a\n IdentityFile /k/one\n IdentityFile /k/two\nHost *\n IdentityFile /k/one\n"
        " IdentityFile /k/three\n IdentitiesOnly yes\n",
        ["a", "b"],
    ),
    "before any block": ("User early\nHost a\n User late\n Port 9\n", ["a", "b"]),
    "jump then command": (
        "Host a\n ProxyJump gate\n ProxyCommand nc %h %p\nHost b\n ProxyCommand nc %h %p\n"
        " ProxyJump gate\n",
        ["a", "b"],
    ),
    "no command, so no jump either": (
        "Host b\n ProxyCommand none\n ProxyJump x\nHost *\n ProxyCommand nc %h\n",
        ["b", "c"],
    ),
    "no jump decides against later jumps": (
        "Host a\n ProxyJump none\nHost *\n ProxyJump x\n",
        ["a", "b"],
    ),
    "comment after a jump": ("Host a\n ProxyJump me@gate:22,b # why\n", ["a"]),
    "match final in a block that does not hold": (
        "Host z\n User x\nMatch host z final\n User y\nHost b.y\n Port 5\nHost a\n HostName b.y\n",
        ["a", "z"],
    ),
    "no jump": ("Host a\n ProxyJump none\nHost *\n ProxyJump me@gate:2222,second\n", ["a", "b"]),
    "match host after hostname": (
        "Host a\n HostName real.example\nMatch host real.example\n User x\n"
        "Match originalhost a,b\n Port 77\n",
        ["a", "b", "real.example"],
    ),
    "match user and all": (
        "Host a\n User x\nMatch user x,y\n Port 77\nMatch all\n ConnectTimeout 4\n",
        ["a", "b"],
    ),
    "match negated": (
        "Match !host a,b*\n User x\nMatch host * !user x\n Port 5\n",
        ["a", "b1", "c"],
    ),
    "match exec": (
        'Match exec "test %h = a"\n User x\nMatch host b exec "exit 1"\n User y\n'
        'Match exec "test %n-%p-%r = c-22-root"\n Port 6\n',
        ["a", "b", "c"],
    ),
    "match final": (
        "Match final host z.example\n User f\nHost a\n HostName z.example\nHost *\n Port 8\n",
        ["a", "b", "z.example"],
    ),
    "match final reads hosts again": (
        "Match final\n ConnectTimeout 3\nHost z.example\n User f\nHost a\n HostName z.example\n",
        ["a", "b"],
    ),
    "match final by the name found": (
        "Match final host a.x\n StrictHostKeyChecking no\nHost a\n HostName %h.x\n",
        ["a", "b"],
    ),
    "match final cannot rename": (
        "Match final\n HostName late.example\n User f\nHost a\n Port 8\n",
        ["a", "b"],
    ),
    "known hosts": (
        "Host a\n UserKnownHostsFile /dev/null /k/other\n StrictHostKeyChecking accept-new\n",
        ["a", "b"],
    ),
}


def real(config: Path, host: str) -> dict[str, list[str]]:
    assert SSH is not None
    done = subprocess.run(
        [SSH, "-G", "-F", str(config), host],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def compare(config: Path, host: str) -> None:
    theirs = real(config, host)
    own = SshConfig(config, system_file=None).lookup([host], user=getpass.getuser())
    ours = dict(own.values)
    ours.setdefault("user", getpass.getuser())
    ours["hostname"] = ours.get("hostname", host).replace("%h", host)
    # ssh itself lowers the name it connects to at the end; so does resolve().
    ours["hostname"] = ours["hostname"].lower()
    spelling = {"true": "yes", "false": "no"}
    for keyword, default in COMPARED.items():
        if keyword == "userknownhostsfile" and keyword not in ours:
            continue
        expected = theirs.get(keyword, [default])[0] or ""
        got = ours.get(keyword, default) or ""
        if keyword == "proxycommand" and got == "none":
            got = ""
        assert spelling.get(got, got) == spelling.get(expected, expected), (host, keyword)
    if "identityfile" in own.lists:
        assert own.lists["identityfile"] == theirs["identityfile"]
    else:
        assert all(one.startswith("~/.ssh/id_") for one in theirs["identityfile"])
    jump = own.values.get("proxyjump")
    assert (None if jump == "none" else jump) == theirs.get("proxyjump", [None])[0]


@needs_ssh
@pytest.mark.parametrize("title", CONFIGS)
def test_same_as_ssh(title: str, tmp_path: Path) -> None:
    text, hosts = CONFIGS[title]
    config = tmp_path / "config"
    if title == "no jump but a command":
        # Debian's 9.2p1 of before 2026 lets "ProxyJump none" end the search for a command too,
        # against its own manual; the present one, and newer releases, do not.
        config.write_text("Host a\n ProxyJump none\n ProxyCommand nc %h\n")
        if "proxycommand" not in real(config, "a"):
            pytest.skip("this ssh is an older one that mistakes 'ProxyJump none'; update it")
    config.write_text(text)
    for host in hosts:
        compare(config, host)


@needs_ssh
@pytest.mark.parametrize("spelling", ["none", "NONE"])
def test_no_jump_leaves_a_later_command_its_say(tmp_path: Path, spelling: str) -> None:
    """As OpenSSH since 10.3, and 9.2p1-2+deb12u10, which carries the change.

    Older ones count ``ProxyJump none`` as the decision against a ProxyCommand, too. Theirs is the
    only other answer that this test knows; anything else says that our reading is wrong.
    """
    config = tmp_path / "config"
    config.write_text(
        f"Host a\n ProxyJump {spelling}\nHost *\n ProxyCommand nc %h\nHost *\n ProxyJump y\n"
    )
    found = SshConfig(config, system_file=None).lookup(["a"], user="me")
    assert found.get("proxycommand") == "nc %h"
    assert (found.get("proxyjump") or "").lower() == "none"
    theirs = real(config, "a")
    assert theirs.get("proxyjump") is None
    assert theirs.get("proxycommand") in (["nc %h"], None)


@needs_ssh
def test_include_inside_a_host_block(tmp_path: Path) -> None:
    (tmp_path / "10.conf").write_text("User inc\nHost b\n Port 10\n")
    (tmp_path / "20.conf").write_text("Host *\n ConnectTimeout 20\n")
    config = tmp_path / "config"
    config.write_text(
        f"Host a\n Include {tmp_path}/[12]0.conf {tmp_path}/absent\n HostKeyAlias after\n"
        f"Host b\n Include {tmp_path}/10.conf\n"
    )
    for host in ("a", "b", "c"):
        compare(config, host)
    assert SshConfig(config, system_file=None).lookup(["a"], user="me").get("user") == "inc"
    assert SshConfig(config, system_file=None).lookup(["c"], user="me").get("user") is None


def test_relative_include_starts_in_the_ssh_folder(tmp_path: Path) -> None:
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "lab").write_text("Host a\n User lab\n")
    config = tmp_path / "config"
    config.write_text("Include config.d/*\n")
    found = SshConfig(config, system_file=None, user_dir=tmp_path).lookup(["a"], user="me")
    assert found.get("user") == "lab"


def test_include_of_itself_ends(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Include {config}\nHost a\n")
    with pytest.raises(UsageError, match=f"deeper than {MAX_INCLUDE_DEPTH}"):
        SshConfig(config, system_file=None).lookup(["a"], user="me")


@pytest.mark.parametrize("line", ['User "open', "Match", "Match host", "=x"])
def test_bad_line_is_named(line: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n{line}\n")
    with pytest.raises(UsageError, match=r"config:2: "):
        SshConfig(config, system_file=None).lookup(["a"], user="me")


def test_exec_is_not_run_where_not_allowed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    config = tmp_path / "config"
    config.write_text(f'Match exec "touch {mark}"\n User x\n')
    found = SshConfig(config, system_file=None, run_exec=False).lookup(["a"], user="me")
    assert found.get("user") is None
    assert not mark.exists()


def test_exec_is_not_run_where_the_block_is_lost(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    config = tmp_path / "config"
    config.write_text(f'Match host b exec "touch {mark}"\n User x\n')
    SshConfig(config, system_file=None).lookup(["a"], user="me")
    assert not mark.exists()


WORD = st.text("ab*?!.-1", min_size=1, max_size=5)
BLOCK = st.tuples(
    st.lists(WORD.filter(lambda word: word != "!"), min_size=1, max_size=3),
    st.sampled_from(["User u1", "User u2", "Port 2", "HostName %h.x", "IdentityFile /k/1"]),
)


@needs_ssh
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(blocks=st.lists(BLOCK, max_size=5), host=st.from_regex(r"[ab][ab.1]{0,3}", fullmatch=True))
def test_random_host_blocks(tmp_path: Path, blocks: list[tuple[list[str], str]], host: str) -> None:
    config = tmp_path / "config"
    config.write_text("".join(f"Host {' '.join(words)}\n {line}\n" for words, line in blocks))
    compare(config, host)
