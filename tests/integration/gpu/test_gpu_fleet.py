"""``labctl gpu`` on light boxes over SSH: one round trip each, and no box hides another."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from virtual_lab import Lab, MakeLab, until

pytestmark = pytest.mark.fleet

REPORT = """<?xml version="1.0" ?>
<nvidia_smi_log><driver_version>999.10</driver_version><attached_gpus>2</attached_gpus>
<gpu id="00000000:01:00.0"><product_name>Simulated</product_name><uuid>GPU-a</uuid>
<fb_memory_usage><total>1000 MiB</total><reserved>10 MiB</reserved><used>600 MiB</used>
</fb_memory_usage><utilization><gpu_util>90 %</gpu_util></utilization>
<processes><process_info><pid>PID</pid><type>C</type><process_name>train</process_name>
<used_memory>600 MiB</used_memory></process_info></processes></gpu>
<gpu id="00000000:02:00.0"><product_name>Simulated</product_name><uuid>GPU-b</uuid>
<fb_memory_usage><total>1000 MiB</total><reserved>10 MiB</reserved><used>0 MiB</used>
</fb_memory_usage><utilization><gpu_util>0 %</gpu_util></utilization><processes /></gpu>
</nvidia_smi_log>"""


# Nobody listens on port 1 (tcpmux) of the loopback interface.
INVENTORY = """\
version: 1
hosts:
  dead: {address: 127.0.0.1, port: 1}
"""


@pytest.fixture(scope="module")
def fleet(make_lab: MakeLab) -> Iterator[Lab]:
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "fleet", "3")
    yield lab
    lab.down()


def put_tool(lab: Lab, box: str, script: str) -> None:
    code, said = lab.sh(
        box,
        f"printf '%s' {shlex.quote('#!/bin/sh' + chr(10) + script)} > /usr/local/bin/nvidia-smi\n"
        "chmod 755 /usr/local/bin/nvidia-smi\n",
    )
    assert code == 0, said


def gpu(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    done = lab.labctl("gpu", *words, "--json", check=False)
    assert done.stdout, done.stderr
    data = json.loads(done.stdout)
    return done.returncode, {host["host"]: host for host in data["hosts"]}


def test_one_box_computes_one_hangs_one_has_no_card(fleet: Lab) -> None:
    # A real process of the box, of a user who is not root.
    code, said = fleet.sh(
        "fleet01",
        "useradd -m ann 2>/dev/null\n"
        "setsid su ann -c 'exec sleep 600' >/dev/null 2>&1 </dev/null &\n"
        "until pid=$(pgrep -u ann -x sleep); do sleep 0.1; done; echo $pid\n",
    )
    assert code == 0, said
    pid = said.split()[-1]
    put_tool(fleet, "fleet01", f"cat <<'END'\n{REPORT.replace('PID', pid)}\nEND\n")
    put_tool(fleet, "fleet02", "trap '' TERM HUP\nwhile :; do sleep 1; done\n")
    code, hosts = gpu(fleet, "fleet01", "fleet02", "fleet03", "--deadline", "12")
    assert code == 3
    first = hosts["fleet01"]
    assert [unit["state"] for unit in first["units"]] == ["busy", "free"]
    assert first["units"][0]["who"].startswith("ann train")
    assert first["error"] == ""
    assert "within 12 s" in hosts["fleet02"]["error"]
    assert hosts["fleet02"]["units"] == []
    assert hosts["fleet03"]["error"] == ""
    assert hosts["fleet03"]["units"] == []
    fleet.sh("fleet01", f"kill {pid}")
    fleet.sh("fleet02", "rm /usr/local/bin/nvidia-smi; kill $(pgrep -f /bin/nvidia-smi)")


def test_a_dead_host_has_its_line_and_the_others_theirs(fleet: Lab) -> None:
    put_tool(fleet, "fleet01", f"cat <<'END'\n{REPORT.replace('PID', '4194304')}\nEND\n")
    put_tool(fleet, "fleet02", "echo 'Failed to initialize NVML: Unknown Error'; exit 255")
    done = fleet.labctl("gpu", "fleet01", "fleet02", "dead", check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "busy" in done.stdout
    assert "fleet02: no card can be read" in done.stdout
    assert "dead: " in done.stdout
    assert fleet.labctl("gpu", "fleet01", "fleet02").returncode == 0
    for words in (("free", "dead"), ("wait", "dead", "--timeout", "2s", "--every", "1s")):
        done = fleet.labctl("gpu", *words, check=False)
        assert done.stderr.count("labctl: dead: ") == 1, done.stderr


def test_a_command_runs_on_the_host_and_ends_with_us(fleet: Lab) -> None:
    put_tool(fleet, "fleet01", f"cat <<'END'\n{REPORT.replace('PID', '4194304')}\nEND\n")
    done = fleet.labctl(
        "gpu", "run", "--on", "fleet01", "--", "sh", "-c",
        "echo $CUDA_VISIBLE_DEVICES 'a b'; pwd; exit 5", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "GPU-b a b\n/root\n"), done.stderr
    running = fleet.start("gpu", "run", "--on", "fleet01", "--", "sh", "-c", "exec sleep 4321")

    def there() -> bool:
        return fleet.sh("fleet01", "pgrep -f 'sleep 432[1]'")[0] == 0

    until(there)
    assert fleet.json("gpu", "bookings")["bookings"][0]["host"] == "fleet01"
    running.terminate()
    assert running.wait(timeout=60) == 130
    until(lambda: not there())
    assert fleet.json("gpu", "bookings")["bookings"] == []
