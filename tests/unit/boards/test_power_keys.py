"""Keys of 'power:': every mistake named, secrets only from files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.keys import HOST, Key, problems, read_secret
from labctl.boards.power.switch import Power, back_end, kinds
from labctl.errors import ExitCode, LabctlError, UsageError

KEYS = {
    "host": HOST,
    "port": Key(int, "A port.", least=1),
    "factor": Key(float, "A factor."),
    "version": Key(int, "A version.", choices=(1, 2)),
    "file": Key(Path, "A file."),
}


def test_all_right() -> None:
    config = {"host": "10.0.0.7:8080", "port": 3, "factor": 2, "version": 1, "file": "~/x"}
    assert problems(KEYS, config) == []


def test_every_mistake_is_named_at_once() -> None:
    found = problems(
        KEYS, {"prt": 1, "port": 0, "factor": "2", "version": 3, "file": "x", "zzz": None}
    )
    assert found == [
        "unknown key 'prt'; did you mean 'port'?",
        "unknown key 'zzz'; known: host, port, factor, version, file",
        "'host' is missing: " + HOST.help,
        "'port' must be at least 1",
        "'factor' must be a number, not '2'",
        "'version' must be one of 1, 2",
        "'file' must be absolute or begin with '~'",
    ]


@pytest.mark.parametrize("value", [True, None, [], {}, 1.5, "5"])
def test_not_a_whole_number(value: object) -> None:
    (message,) = problems({"n": Key(int, "N.")}, {"n": value})
    assert message.startswith("'n' must be a whole number, not ")


@pytest.mark.parametrize("host", ["plug", "plug.lab:80", "192.0.2.7", "[2001:db8::7]:80", "_a-b"])
def test_hosts(host: str) -> None:
    assert problems({"host": HOST}, {"host": host}) == []


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "http://plug", "user@plug", "plug/x", "plug?x", "a\nb", "-x", "a:b"]
)
def test_not_hosts(host: str) -> None:
    assert len(problems({"host": HOST}, {"host": host})) == 1


@given(st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text()))
def test_messages_are_lines(config: dict[str, object]) -> None:
    for message in problems(KEYS, config):
        assert message.isprintable()


def test_labctls_own_kinds() -> None:
    assert {"vm", "command", "uhubctl", "shelly", "tasmota", "snmp", "manual"} <= set(kinds())
    for kind in kinds():
        module = back_end(kind)
        assert callable(module.get)
        assert callable(module.set)
        for name, key in module.KEYS.items():
            assert key.help.endswith("."), (kind, name)


def test_every_key_is_described() -> None:
    page = (Path(__file__).parents[3] / "docs" / "power.md").read_text()
    for kind in kinds():
        assert f"### `{kind}`" in page, kind
        for name in back_end(kind).KEYS:
            assert f"`{name}`" in page, (kind, name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "power of uno: 'kind' is missing; write 'kind:' with one of "),
        (
            {"kind": "shely"},
            "power of uno: there is no power back end 'shely'; did you mean 'shelly'?; write",
        ),
        (
            {"kind": "shelly", "host": 5, "swich": 1},
            "power of uno (shelly): unknown key 'swich'; did you mean 'switch'?; "
            "'host' must be text, not '5'; see docs/power.md",
        ),
        ({"kind": "vm"}, "power of uno (vm): 'monitor' is missing: "),
        (
            {"kind": "command", "on": "true", "off": "true", "off_s": "long"},
            "power of uno (command): 'off_s' must be a number, not 'long'",
        ),
        (
            {"kind": "snmp", "host": "pdu", "community_file": "/x"},
            "power of uno (snmp): say either 'pdu' and 'outlet', or 'oid'",
        ),
        (
            {"kind": "snmp", "host": "pdu", "community_file": "/x", "pdu": "apc-rpdu2"},
            "power of uno (snmp): 'pdu' and 'outlet' belong together",
        ),
        (
            {"kind": "snmp", "host": "pdu", "community_file": "/x", "pdu": "apc-rpdu2",
             "outlet": 1, "on": 1},
            "power of uno (snmp): 'on' come from 'pdu'; remove them",
        ),
        (
            {"kind": "snmp", "host": "pdu", "community_file": "/x", "oid": "sPDUOutletCtl.1"},
            "power of uno (snmp): 'oid' is 'sPDUOutletCtl.1', which does not fit: ",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_the_inventory(config: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Power("uno", config)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == ExitCode.USAGE


def test_secret_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2 \nnot this\n")
    assert read_secret({"file": str(tmp_path / "secret")}, "file") == "hunter2"


def test_secret_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text("hunter2")
    assert read_secret({"file": "~/secret"}, "file") == "hunter2"


@pytest.mark.parametrize("content", [None, b"", b"\nx", b"\xff\xfe"])
def test_no_secret(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabctlError, match=f"'file' {path} "):
        read_secret({"file": str(path)}, "file")
