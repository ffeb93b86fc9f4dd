"""``labctl serve-metrics``: what it refuses, and what it prints without serving."""

import json
import socket
import subprocess
from collections.abc import Callable

import pytest

Labctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "9780"], "write it as 127.0.0.1:9780"),
        (["--every", "0s"], "1s to 1d apart"),
        (["nobody"], "inventory"),
    ],
)
def test_what_is_refused(labctl: Labctl, arguments: list[str], says: str) -> None:
    said = labctl("serve-metrics", *arguments)
    assert said.returncode == 2
    assert says in said.stderr
    assert said.stdout == ""


def test_a_port_that_is_taken(labctl: Labctl) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = labctl("serve-metrics", "--listen", where)
    assert said.returncode == 4
    assert said.stderr == f"labctl: {where}: another program listens there; give another --listen\n"


def test_the_dashboard_is_printed_as_json(labctl: Labctl) -> None:
    said = labctl("serve-metrics", "--grafana")
    assert said.returncode == 0
    assert json.loads(said.stdout)["title"] == "labctl: hosts and cards"
