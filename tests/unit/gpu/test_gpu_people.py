"""From a process to a person."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.facts.gpu import collect, here, people
from labctl.facts.gpu.here import ENGINE_S
from labctl.facts.gpu.people import parse
from labctl.facts.value import Known, Reason, Unknown

ID = "3f4c0d1b2a5968778695a4b3c2d1e0f0a1b2c3d4e5f60718293a4b5c6d7e8f90"
NAMES = "N 0 root\nN 1000 ann\nN 1001 bob\n"


def one(lines: str, pid: int = 7):  # noqa: ANN201
    return parse(lines + NAMES)[0][pid]


@pytest.mark.parametrize(
    ("uid", "login", "cgroup", "person", "container"),
    [
        ("1000", "4294967295", "0::/user.slice", "ann", None),
        ("0", "1001", "0::/user.slice/user-1001.slice/session-3.scope", "bob", None),
        ("0", "4294967295", f"0::/system.slice/docker-{ID}.scope", "root", "docker 3f4c0d1b2a59"),
        ("0", "4294967295", f"12:devices:/docker/{ID}", "root", "docker 3f4c0d1b2a59"),
        ("0", "", f"0::/machine.slice/libpod-{ID}.scope/container", "root", "podman 3f4c0d1b2a59"),
        ("1000", "0", "0::/user.slice", "ann", None),
        ("0", "", "0::/system.slice/slurmstepd.scope/job_42/step_0/user", "root", "slurm job 42"),
        ("0", "", "9:memory:/slurm/uid_1000/job_42/step_0", "ann", "slurm job 42"),
        ("4711", "", "0::/", "uid 4711", None),
    ],
)
def test_who_it_is(uid: str, login: str, cgroup: str, person: str, container: str | None) -> None:
    found = one(f"P 7 uid {uid}\nP 7 login {login}\nP 7 cgroup {cgroup}\n")
    assert found.person == person
    if container:
        assert found.container == Known(container)
    else:
        assert isinstance(found.container, Unknown)


def test_when_it_was_started_and_what_it_waits_for() -> None:
    stat = "D " + " ".join(["1"] * 18) + " 360000 0"
    found = one(f"U 7200.5 100\nP 7 uid 1000\nP 7 stat {stat}\n")
    assert found.started == Known(3600.5)
    assert found.state == Known("D")


def test_a_process_that_is_not_here() -> None:
    found = one("P 7 gone\n")
    assert isinstance(found.user, Unknown)
    assert found.user.reason is Reason.LOST
    assert found.person == ""


def test_open_devices() -> None:
    _, devices = parse("O 7 /dev/nvidia0\nO x y\n")
    assert [(one.pid, one.device) for one in devices] == [(7, "/dev/nvidia0")]


@given(st.text(alphabet="PONU 7\n\x00abc:/-.9", max_size=80))
def test_no_answer_is_an_exception(text: str) -> None:
    parse(text)


def test_the_script_and_python_say_the_same_of_this_machine() -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        pids = [os.getpid(), sleeper.pid, 4194304]
        words = " ".join(map(str, pids))
        done = subprocess.run(
            ["sh", "-s"], input=people.snippet(f"'{words}'"), capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        script, python = parse(done.stdout)[0], parse(here.people_lines(pids))[0]
    finally:
        sleeper.kill()
        sleeper.wait()
    assert script.keys() == python.keys() == set(pids)
    for pid in pids:
        one, other = script[pid], python[pid]
        if isinstance(one.started, Known) and isinstance(other.started, Known):
            assert one.started.value == pytest.approx(other.started.value, abs=60)
        # Whether it sleeps or runs just now is not the same from moment to moment.
        same = {"started": one.started, "state": one.state}
        assert dataclasses.replace(other, **same) == one
    snippet = next(part.text for part in collect.snippets() if part.name == "gpu bus")
    bus = subprocess.run(["sh", "-s"], input=snippet, capture_output=True, text=True, check=True,
                         timeout=60)  # fmt: skip
    assert bus.stdout == here.bus_lines()


# --- containers: outputs written as docker inspect and scontrol print them ------------------------


def told(kind: str, name: str, labels: str = "{}", binds: str = "null") -> str:
    return f"C {kind} {ID}\t{name}\t{labels}\t{binds}\n"


DOCKER = f"P 7 uid 0\nP 7 cgroup 0::/system.slice/docker-{ID}.scope\n"
ROOTLESS = (
    f"P 7 uid 100000\nP 7 cgroup 0::/user.slice/user-1001.slice/user@1001.service/user.slice/"
    f"libpod-{ID}.scope/container\n"
)
JOB = "P 7 uid 0\nP 7 cgroup 0::/system.slice/slurmstepd.scope/job_42/step_0/user/task_0\n"


@pytest.mark.parametrize(
    ("lines", "owner", "name"),
    [
        (DOCKER + told("docker", "/x", '{"org.lab.owner": "ann"}'), "ann", "x"),
        (DOCKER + told("docker", "/x", '{"hub.jupyter.org/username": "bob"}'), "bob", "x"),
        (
            DOCKER
            + told("docker", "/p-1", '{"com.docker.compose.project.working_dir": "/home/ann/p"}'),
            "ann",
            "p-1",
        ),
        (DOCKER + told("docker", "/x", "null", '["/home/bob/d:/d:ro", "/srv:/s"]'), "bob", "x"),
        (DOCKER + told("docker", "/x", "{}", '["/home/bob:/b", "/home/ann:/a"]'), None, "x"),
        (DOCKER + told("docker", "/ann-train", "{}"), "ann", "ann-train"),
        (DOCKER + told("docker", "/annabel", "{}"), None, "annabel"),
        (DOCKER + told("docker", "/root-x", "{}"), None, "root-x"),
        (DOCKER + told("docker", "/x", '{"maintainer": "NVIDIA"}'), None, "x"),
        (DOCKER, None, None),
        (DOCKER + f"C docker {ID}\tx\t{{broken\t[\n", None, "x"),
        (DOCKER + "C docker Error: No such object\n", None, None),
        (ROOTLESS, "bob", None),
        (ROOTLESS + told("podman", "train"), "bob", "train"),
        (JOB + "C slurm JobId=42 JobName=t UserId=ann(1000) GroupId=ann(1000)\n", "ann", None),
        (JOB + "C slurm slurm_load_jobs error: Invalid job id specified\n", None, None),
    ],
)  # fmt: skip
def test_whose_a_container_is(lines: str, owner: str | None, name: str | None) -> None:
    found = one(lines)
    assert (
        found.container_owner == Known(owner)
        if owner
        else isinstance(found.container_owner, Unknown)
    )
    assert (
        found.container_name == Known(name) if name else isinstance(found.container_name, Unknown)
    )
    if owner:
        assert found.person == owner  # and not root


def test_engines_are_asked_about_what_the_cgroups_name(tmp_path: Path) -> None:
    """The script itself, with /proc of the test's and engines that say what they were asked."""
    for pid, cgroup in ((7, f"docker-{ID}.scope"), (8, f"libpod-{ID[::-1]}.scope"),
                        (9, "slurmstepd.scope/job_42/step_0")):  # fmt: skip
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "cgroup").write_text(f"0::/system.slice/{cgroup}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    answers = {
        "docker": f"printf '%s\\tann-x\\t{{}}\\tnull\\n' {ID}",
        "podman": "exec sleep 600",
        "scontrol": "echo JobId=$4 UserId=bob'(1001)'",
    }
    for name, answer in answers.items():
        (programs / name).write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/{name}.asked\n{answer}\n')
        (programs / name).chmod(0o755)
    script = people.snippet("'7 8 9'").replace("/proc/$pid", f"{tmp_path}/proc/$pid")
    script = script.replace(f"within {ENGINE_S} ", "within 1 ")
    done = subprocess.run(
        ["sh", "-s"], input=f"PATH={programs}:$PATH\n{script}", capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    found, _ = parse(NAMES + done.stdout)
    assert [found[pid].container_owner for pid in (7, 9)] == [Known("ann"), Known("bob")]
    assert isinstance(found[8].container_owner, Unknown)
    assert (tmp_path / "docker.asked").read_text().split()[-1] == ID
    assert "Env" not in (tmp_path / "docker.asked").read_text()
    assert (tmp_path / "scontrol.asked").read_text() == "-o show job 42\n"
