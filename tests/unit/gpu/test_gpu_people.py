"""From a process to a person."""

import dataclasses
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.facts.gpu import collect, here, people
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
