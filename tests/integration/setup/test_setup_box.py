"""``labctl setup`` on a real, new Debian machine: first contact by password, then by key only.

The tests of this file follow one another on one machine, as its owner's days do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from virtual_lab import Lab, MakeLab, until

pytestmark = pytest.mark.vm

# The base profile without what takes an emulated machine minutes to install: what is tested here
# is the way, not Debian's archive.
VARS = {"tool_groups": [], "locale": "C.UTF-8", "security_upgrades": False}
NEW_BOX = f"""\
version: 1
hosts:
  box1: {{virtual: box, profiles: [base], vars: {json.dumps(VARS)}}}
"""


@pytest.fixture(scope="module")
def new_box(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose box1 has just booted for the first time."""
    lab = make_lab(NEW_BOX)
    lab.up("box1")
    yield lab
    lab.down()


def own_key(lab: Lab) -> Path:
    return Path(lab.env["XDG_DATA_HOME"]) / "labctl" / "ssh" / "id_ed25519"


def by_key(lab: Lab, user: str = "root") -> paramiko.SSHClient:
    """Log in with the key that labctl has put there, and with nothing else."""
    end = lab.endpoints()["box1"]
    client = paramiko.SSHClient()
    name = f"[{end.address}]:{end.port}"
    for line in end.host_keys:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {line}")
        assert entry is not None
        client.get_host_keys().add(name, entry.key.get_name(), entry.key)
    client.connect(
        end.address, end.port, user, pkey=paramiko.PKey.from_path(own_key(lab)),
        look_for_keys=False, allow_agent=False, timeout=60, banner_timeout=60, auth_timeout=60,
    )  # fmt: skip
    return client


def sh(lab: Lab, script: str, user: str = "root") -> tuple[int, str]:
    with contextlib.closing(by_key(lab, user)) as client:
        stdin, stdout, _ = client.exec_command("sh -s 2>&1", timeout=300)
        stdin.write(script)
        stdin.channel.shutdown_write()
        output = stdout.read().decode(errors="replace")
        return stdout.channel.recv_exit_status(), output


def setup(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    done = lab.labctl("setup", *words, "--json", check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_new_machine_is_made_right_by_its_password(new_box: Lab) -> None:
    end = new_box.endpoints()["box1"]
    assert end.password
    assert not own_key(new_box).exists()
    code, done = setup(new_box, "box1", "--yes")
    assert code == 0, json.dumps(done, indent=1)
    assert done["summary"]["failed"] == 0
    assert done["summary"]["changed"] > 8
    for path in [Path(new_box.env["XDG_STATE_HOME"]) / "labctl" / "setup"]:
        for file in path.rglob("*"):
            assert not file.is_file() or end.password not in file.read_text()


def test_it_has_converged(new_box: Lab) -> None:
    sh(new_box, "touch /root/marker; sync")
    for words in (("--check",), ("--yes",)):
        code, again = setup(new_box, "box1", *words)
        assert code == 0, again
        assert {item["status"] for item in again["hosts"][0]["items"]} == {"unchanged"}
        assert again["hosts"][0]["round_trips"] == 1
    _, touched = sh(
        new_box,
        "find / -xdev -newer /root/marker ! -path '/var/log/*' ! -path '/var/lib/systemd/*' "
        "! -path '/var/lib/private/*' -type f -print",
    )
    assert touched == ""


def test_passwords_let_nobody_in_any_more(new_box: Lab) -> None:
    end = new_box.endpoints()["box1"]
    with pytest.raises(paramiko.BadAuthenticationType) as caught:
        new_box.connect("box1", password=end.password)
    assert caught.value.allowed_types == ["publickey"]
    assert sh(new_box, "id -un") == (0, "root\n")


def test_the_admin_gets_to_root_by_key_and_sudo(new_box: Lab) -> None:
    status, output = sh(new_box, "sudo -n id -un; locale 2>&1 | grep -c warn; hostname", "lab")
    assert (status, output.split()) == (0, ["root", "0", "box1"])


def test_as_the_admin_through_sudo_nothing_is_left_to_do(new_box: Lab, tmp_path: Path) -> None:
    end = new_box.endpoints()["box1"]
    fields = {
        "address": end.address,
        "port": end.port,
        "user": "lab",
        "sudo": True,
        "host_keys": list(end.host_keys),
        "identity_files": [str(own_key(new_box))],
        "profiles": ["base"],
        "vars": VARS,
    }
    other = Lab(tmp_path, inventory=f"version: 1\nhosts:\n  box1: {json.dumps(fields)}\n")
    code, done = setup(other, "box1", "--check")
    assert code == 0, done


# Stands in for labctl, whose Python would take minutes to install here: keeps what it was told.
RECORDER = r"""#!/bin/sh
[ "$1" = --version ] || echo "$* $LABCTL_GPU_DB" >>/var/lib/labctl-gpu/log
"""


def test_the_timer_that_records_cards_runs_and_runs_anew_when_it_changes(new_box: Lab) -> None:
    program = "/usr/local/bin/labctl"
    assert sh(new_box, f"printf '%s' '{RECORDER}' >{program}; chmod 755 {program}")[0] == 0

    def profile(*words: str) -> tuple[int, dict[str, Any]]:
        more = ("--profile", "gpu-history", "--set", f"labctl={program}")
        return setup(new_box, "box1", "--yes", *more, *words)

    def logged(line: str) -> bool:
        return sh(new_box, f"grep -qxF '{line}' /var/lib/labctl-gpu/log")[0] == 0

    code, done = profile()
    assert code == 0, done
    until(lambda: logged("gpu record local /var/lib/labctl-gpu/gpu.sqlite"))
    code, done = profile("--set", 'record_hosts="@lab"', "--set", "gpu_database=/srv/x")
    assert code == 0, done
    until(lambda: logged("gpu record @lab /srv/x"))
    code, done = profile("--set", 'record_hosts="@lab"', "--set", "gpu_database=/srv/x", "--check")
    assert (code, done["hosts"][0]["round_trips"]) == (0, 1)
    assert {item["status"] for item in done["hosts"][0]["items"]} == {"unchanged"}


@pytest.mark.long
def test_killed_in_the_middle_of_apt_the_next_run_completes_it(
    new_box: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few packages: under an emulated processor each takes seconds.
    profile = tmp_path / "labctl/profiles/few.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("description: A few\nitems: [{package: [tmux, rsync]}]\n")
    monkeypatch.setitem(new_box.env, "XDG_CONFIG_HOME", str(tmp_path))
    words = ("box1", "--profile", "few")
    process = new_box.start("setup", *words, "--yes")
    until(lambda: sh(new_box, "pgrep -x apt-get")[0] == 0, timeout_s=180)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert new_box.json("setup", "--runs")["runs"][0]["state"] == "killed"

    def finished() -> bool:
        # Exit code 4 for as long as the item in flight holds the machine.
        code, done = setup(new_box, *words, "--yes")
        assert code in (0, 4), done
        return code == 0

    until(finished, timeout_s=500)
    assert sh(new_box, "dpkg --audit; command -v tmux rsync >/dev/null && echo there") == (
        0,
        "there\n",
    )
    assert setup(new_box, *words, "--check")[0] == 0
