"""The collector over real SSH: an sshd of the test's own on the loopback interface, the simulated
NVML behind it, and whatever Python the machine has (Debian's has neither psutil nor nvidia-ml-py).
"""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from virtual_lab import Lab, until

from labctl.errors import DependencyError
from labctl.vlab.nvml.build import SCENARIO_VARIABLE, build

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
WHY_NOT = (
    "an sshd that lets root in needs root" if os.geteuid() != 0
    else "no sshd: apt-get install openssh-server" if SSHD is None
    else "no python3 in /usr/bin" if not Path("/usr/bin/python3").exists()
    else "this machine has an nvidia-smi" if shutil.which("nvidia-smi")
    else ""
)  # fmt: skip
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

CARDS = f"""\
driver 999.10
card
name Test
uuid GPU-a
pci 00000000:01:00.0
memory_total 85899345920
memory_used 4294967296
utilisation 90
temperature 40
link_speed 26562
link 1 6 0 3 0 0
link 0
process {os.getpid()} C 4294967296
card
name Test
uuid GPU-b
pci 00000000:02:00.0
memory_total 85899345920
memory_used 0
utilisation 0
temperature 40
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return a lab with one host called ``box``, which is this machine by SSH."""
    folder = tmp_path_factory.mktemp("ssh")
    try:
        build(folder)
    except DependencyError as error:
        pytest.skip(str(error))
    (folder / "scenario").write_text(CARDS)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"SetEnv LD_LIBRARY_PATH={folder} {SCENARIO_VARIABLE}={folder}/scenario\n"
    )
    assert SSHD is not None
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root insists on it
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")])
    fields = {
        "address": "127.0.0.1",
        "port": port,
        "user": "root",
        "identity_files": [str(folder / "user")],
        "host_keys": [" ".join((folder / "host.pub").read_text().split()[:2])],
    }

    def listens() -> bool:
        with socket.socket() as asks:
            return asks.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens)
        yield Lab(folder, inventory=f"version: 1\nhosts:\n  box: {json.dumps(fields)}\n")
    finally:
        server.terminate()
        server.wait(30)


def one(lab: Lab, *words: str) -> dict[str, Any]:
    done = lab.labctl(*words, "--json", check=False)
    assert done.stdout, done.stderr
    (found,) = json.loads(done.stdout)["hosts"]
    assert not found["error"], found["error"]
    return dict(found)


def test_cards_of_a_host_with_python_and_without_nvidia_smi(host: Lab) -> None:
    found = one(host, "gpu", "box", "--collector", "python", "--deadline", "120")
    assert found["source"] == "NVML"
    assert [unit["state"] for unit in found["units"]] == ["busy", "free"]
    assert found["cards"][0]["link_recoveries"] == {"value": 3}
    assert [person["pid"] for person in found["people"]] == [os.getpid()]
    assert found["people"][0]["command"]["value"]
    # The shell alone finds no tool here, and says so.
    assert one(host, "gpu", "box", "--collector", "sh", "--deadline", "120")["units"] == []


def test_check_of_a_host_both_ways(host: Lab) -> None:
    python, shell = (
        one(host, "check", "box", "--facts", "--timeout", "180", "--collector", word)
        for word in ("python", "sh")
    )
    assert python["missing"] is shell["missing"] is None
    gpu = python["facts"]["gpu"]["value"]
    assert gpu["tool"] == {"value": "NVML"}
    assert "unknown" in shell["facts"]["gpu"]["value"]["tool"]
    rules = {found["rule"] for found in python["findings"]}
    assert {"card-link-down", "card-link-errors"} <= rules
    for name, fact in (("memory", "total"), ("users", "names"), ("network", "default_route"),
                       ("load", "cpus")):  # fmt: skip
        assert python["facts"][name]["value"][fact] == shell["facts"][name]["value"][fact]
