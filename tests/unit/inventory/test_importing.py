"""OpenSSH configurations and Ansible inventories become inventories that load."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.inventory.ansible_files import expand_ranges, read_ini, read_yaml
from labctl.inventory.compiling import compile_text
from labctl.inventory.diagnostics import InventoryError
from labctl.inventory.draft import Draft, dump, write_out
from labctl.inventory.importing import Imported, guess_kind, import_file
from labctl.inventory.model import Inventory
from labctl.inventory.yamlnodes import parse


def loaded(result: Imported) -> Inventory:
    return compile_text(result.text, Path("inventory.yaml")).inventory


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


SSH = """
Include more/*.conf
Host gate
  HostName 192.0.2.1
  Port 2222
Host gpu1 gpu1.lab.example
  HostName 192.0.2.7
Host web1 web2
  HostName %h.example
Host gpu* web*
  User lab
  ProxyJump gate
  IdentityFile ~/.ssh/%r_key
Host github.com
  User git
Host bad|name
Host *
  ConnectTimeout 4
Match exec "touch MARK"
  User evil
"""


def test_ssh(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path, "config", SSH.replace("MARK", str(mark)))
    (tmp_path / "more").mkdir()
    write(tmp_path, "more/a.conf", "Host inc\n  Port 2022\n")
    result = import_file(path)
    hosts = loaded(result).hosts
    assert list(hosts) == ["inc", "gate", "gpu1", "web1", "web2"]
    assert hosts["inc"].port == 2022
    assert (hosts["gate"].address, hosts["gate"].port) == ("192.0.2.1", 2222)
    gpu = hosts["gpu1"]
    assert (gpu.address, gpu.user, gpu.proxy_jump) == ("192.0.2.7", "lab", "gate")
    assert gpu.identity_files == (str(Path.home() / ".ssh/lab_key"),)
    assert hosts["web2"].address == "web2.example"
    warnings = "\n".join(result.warnings)
    for part in ("gpu1.lab.example", "github.com", "Match exec", "bad|name", "connecttimeout"):
        assert part in warnings
    assert not mark.exists()


INI = """
; comment
jump:2222 ansible_host=192.0.2.1   # comment
[web]
web[01:03].example ansible_user=admin ansible_password=hunter2
[db]
db-[a:b] ansible_become=yes foo='{"a": 1}' tok=08 flag=1e3 word=no
"unclosed
[lab:children]
web
db
[lab:vars]
ansible_ssh_common_args='-o ProxyJump=me@jump -o StrictHostKeyChecking=no'
ansible_ssh_private_key_file=~/.ssh/lab
tz = Asia/Shanghai
http_token=hunter2
[all:vars]
ansible_user=root
ansible_python_interpreter=/usr/bin/python3
tmpl={{ foo }}
[bad group]
[x:unknown]
"""


def test_ansible_ini(tmp_path: Path) -> None:
    result = import_file(write(tmp_path, "hosts", INI))
    hosts = loaded(result).hosts
    assert list(hosts) == (
        ["jump", "web01.example", "web02.example", "web03.example", "db-a", "db-b"]
    )
    assert (hosts["jump"].address, hosts["jump"].port) == ("192.0.2.1", 2222)
    web, db = hosts["web02.example"], hosts["db-b"]
    assert (web.user, web.groups, web.proxy_jump) == ("admin", ("web", "lab"), "me@jump")
    assert web.identity_files == (str(Path.home() / ".ssh/lab"),)
    assert web.vars == {"tz": "Asia/Shanghai"}
    assert (db.user, db.sudo) == ("root", True)
    assert db.vars == (
        {"tz": "Asia/Shanghai", "foo": {"a": 1}, "tok": "08", "flag": 1000.0, "word": "no"}
    )
    assert "hunter2" not in result.text + "".join(result.warnings)
    warnings = "\n".join(result.warnings)
    for part in (
        *(
            "ansible_password of web01",
            "http_token of the group lab",
            "tmpl of all",
            "line 8 is left out",
        ),
        *("only a jump host", "[x:unknown]"),
    ):
        assert part in warnings, part
    assert "python_interpreter" not in warnings


YAML = """
all:
  vars: {ansible_user: root, on_site: yes}
  hosts:
    mail.example: {ansible_host: "2001:db8::1"}
    localhost: {ansible_connection: local}
  children:
    gpu:
      vars: {level: group}
      hosts:
        gpu[1:3]:
          ansible_become: true
          sec: !vault |
            $ANSIBLE_VAULT;1.1;AES256
            6162
      children:
        a100: {hosts: {gpu1: {vram: 80}}, vars: {level: child}}
"""


def test_ansible_yaml(tmp_path: Path) -> None:
    result = import_file(write(tmp_path, "site.yml", YAML))
    hosts = loaded(result).hosts
    assert list(hosts) == ["mail.example", "gpu1", "gpu2", "gpu3"]
    assert (hosts["mail.example"].address, hosts["mail.example"].user) == ("2001:db8::1", "root")
    assert hosts["gpu1"].groups == ("a100", "gpu")
    # A child group wins over its parent, in Ansible as here.
    assert hosts["gpu1"].vars == {"on_site": True, "level": "child", "vram": 80}
    assert hosts["gpu2"].vars == {"on_site": True, "level": "group"}
    assert hosts["gpu3"].sudo
    assert "sec of gpu1" in "\n".join(result.warnings)
    assert "localhost" in "\n".join(result.warnings)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("web", ["web"]),
        ("web[1:3]", ["web1", "web2", "web3"]),
        ("w[08:10]x", ["w08x", "w09x", "w10x"]),
        ("w[1:7:3]", ["w1", "w4", "w7"]),
        ("w[a:c]", ["wa", "wb", "wc"]),
        ("r[1:2]-[a:b]", ["r1-a", "r1-b", "r2-a", "r2-b"]),
        ("w[3:1]", None),
        ("w[01:1]", None),
        ("w[1:99999]", None),
        ("w[1:300][1:300]", None),
        ("w[1:2:0]", None),
        ("w[x]", None),
    ],
)
def test_ranges(pattern: str, expected: list[str] | None) -> None:
    assert expand_ranges(pattern, 10_000) == expected


def test_cycle_of_ansible_groups_is_taken_apart(tmp_path: Path) -> None:
    text = "[a]\nh1\n[a:children]\nb\n[b:children]\na\n"
    result = import_file(write(tmp_path, "hosts", text))
    assert "a" in loaded(result).hosts["h1"].groups
    assert "cycle" in "\n".join(result.warnings)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("config", "Host a\n", "ssh"),
        ("config", "# x\n\n  include y\n", "ssh"),
        ("hosts", "a\nb\n", "ansible"),
        ("hosts", "[g]\nHost a\n", "ansible"),
        ("site.yml", "Host a\n", "ansible"),
    ],
)
def test_kind_is_told_from_the_content(name: str, text: str, kind: str) -> None:
    assert guess_kind(Path(name), text) == kind


def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no host in this file"):
        import_file(write(tmp_path, "config", "Host *\n User x\n"))
    with pytest.raises(UsageError, match="no hosts found"):
        import_file(write(tmp_path, "hosts", "[empty]\n"))
    with pytest.raises(InventoryError, match="a binary file"):
        import_file(write(tmp_path, "hosts", "a\0b"))


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.text(max_size=12)
    | st.sampled_from(["yes", "no", "08", "1e3", "0o7", "0x1f", "<<", "~", ".5", "1_0", "- a"])
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e20, max_value=1e20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(deadline=2000)
@given(st.dictionaries(st.text(max_size=6), PLAIN, max_size=4))
def test_what_is_written_reads_back_the_same(data: dict[str, object]) -> None:
    root, found = parse(dump(data))
    assert found == []
    assert root is not None
    assert root.value() == data


NAME = st.sampled_from(["a", "b", "web1", "all", "local", "x y", "-z", "gpu[1:2]", "é", "k:1"])
ENTRY = st.dictionaries(
    st.sampled_from(
        [
            "user",
            "port",
            "address",
            "proxy_jump",
            "groups",
            "tags",
            "vars",
            "sudo",
            "password",
            "identity_files",
            "parents",
            "unknown",
            "host_keys",
        ]
    ),
    st.sampled_from(["a", "b", "hunter2 x", 22, 99999, True, None])
    | st.lists(NAME, max_size=3)
    | st.dictionaries(st.sampled_from(["v", "token", "u"]), st.text(max_size=5), max_size=2),
    max_size=4,
)


@settings(max_examples=150, deadline=2000)
@given(
    hosts=st.dictionaries(NAME, ENTRY, max_size=4), groups=st.dictionaries(NAME, ENTRY, max_size=4)
)
def test_any_draft_is_written_so_that_it_loads(
    hosts: dict[str, dict[str, object]], groups: dict[str, dict[str, object]]
) -> None:
    draft = Draft(hosts=hosts, groups=groups)
    compile_text(write_out(draft), Path("inventory.yaml"))


LINES = st.sampled_from(
    [
        "[web]",
        "[db:children]",
        "[web:vars]",
        "web",
        "db",
        "h1 ansible_host=1.2.3.4",
        "h[1:3]",
        "h2:22 x=1",
        "ansible_user=a b",
        "k='open",
        "[all:vars]",
        "[all:children]",
        "a=[1,{2}]",
        "Host a b*",
        "  HostName %h.x",
        "Match all",
        "  User q",
        "Include x",
        "all:",
        "  hosts:",
        "    h9:",
        "  children:",
        "    c1: {hosts: {y: {z: *a}}}",
        "  vars: {p: !vault x}",
        "=",
        "[",
    ]
)


@settings(
    max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(LINES | st.text(max_size=10), max_size=12).map("\n".join))
def test_any_file_imports_or_is_refused(tmp_path: Path, text: str) -> None:
    for name, kind in (("hosts", "ansible"), ("hosts.yml", "ansible"), ("config", "ssh")):
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            result = import_file(path, kind)
        except UsageError:
            continue
        assert loaded(result).hosts


@given(st.text(max_size=80))
def test_readers_take_any_text(text: str) -> None:
    assert read_ini(text).groups is not None
    data = read_yaml(text)
    assert data is None or data.groups is not None
