"""``labctl gpu`` as a person runs it, on this machine with a simulated library."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_reports import GIB, card, xml_card, xml_report

from labctl.vlab.nvml.build import SCENARIO_VARIABLE

Labctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def labctl(library: Path, tmp_path: Path) -> Labctl:
    scenario = tmp_path / "scenario"
    scenario.write_text(
        "driver 999.1\ncuda 13000\n"
        + card(0, f"process {os.getpid()} C {GIB}", f"memory_used {GIB}", "utilisation 5")
        + card(1)
        + card(2)
    )

    def run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "labctl", "gpu", *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "LD_LIBRARY_PATH": str(library.parent),
                SCENARIO_VARIABLE: str(scenario),
                "LABCTL_GPU_DB": str(tmp_path / "gpu.sqlite"),
                "SUDO_USER": "ann",
                **more,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_without_words_this_machine_is_shown(labctl: Labctl) -> None:
    done = labctl()
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()] == [
        "STATE", "busy", "free", "free",
    ]  # fmt: skip


def test_free_and_its_exit_codes(labctl: Labctl) -> None:
    done = labctl("free", "local", "--count", "2", "--memory", "40G", "--same-host")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["local", "1", "GPU-1"], ["local", "2", "GPU-2"],
    ]  # fmt: skip
    done = labctl("free", "local", "--count", "3")
    assert "no such cards are free" in done.stderr
    assert (done.returncode, done.stdout) == (1, "")
    done = labctl("free", "local", "--memory", "much")
    assert done.returncode == 2
    assert "write it as 40G" in done.stderr
    data = json.loads(labctl("free", "local", "--json").stdout)
    assert data["schema"] == "labctl.gpu-free/1"
    assert data["units"][0]["uuid"] == "GPU-1"


def test_wait_gives_up_and_says_so_by_its_code(labctl: Labctl) -> None:
    assert (
        labctl("wait", "local", "--count", "3", "--timeout", "1s", "--every", "1s").returncode == 1
    )
    assert labctl("wait", "local", "--timeout", "1s").stdout.startswith("local 1 ")


def test_booking_from_end_to_end(labctl: Labctl) -> None:
    assert labctl("book", "local:1", "--for", "2h", "--note", "paper").returncode == 0
    assert "booked by ann" in labctl("local").stdout
    assert labctl("free", "local", SUDO_USER="bob").stdout.startswith("local 2 ")
    assert labctl("free", "local").stdout.startswith("local 1 ")
    refused = labctl("book", "local:2", "local:1", SUDO_USER="bob")
    assert refused.returncode == 4
    assert "booked by ann until" in refused.stderr
    (entry,) = json.loads(labctl("bookings", "--json").stdout)["bookings"]
    assert (entry["host"], entry["name"], entry["note"]) == ("local", "1", "paper")
    assert labctl("release", SUDO_USER="bob").stdout == "no bookings\n"
    assert "local" in labctl("release", "local:1").stdout
    assert labctl("bookings").stdout == "no bookings\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("book", "local"), "write HOST:GPU"),
        (("book", "local:9"), "local has 0, 1, 2"),
        (("book", "local:1", "--for", "long"), "4h or 2d"),
        (("record", "--every", "1h", "local"), "1 s to 5 m"),
        (("--replay",), "no file given"),
        (("nosuchhost",), "inventory"),
    ],
)
def test_bad_usage(labctl: Labctl, words: tuple[str, ...], said: str) -> None:
    done = labctl(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_in_the_url_is_refused_and_not_shown(labctl: Labctl) -> None:
    url = "postgresql://ann:Xsecret@127.0.0.1:1/lab"
    for words in (("report",), ("record", "local", "--every", "1s"), ("local", "--json")):
        done = labctl(*words, LABCTL_GPU_DB=url)
        said = done.stdout + done.stderr
        assert "must not hold a password" in said
        assert "~/.pgpass" in said
        assert "Xsecret" not in said
        assert done.returncode == (0 if "--json" in words else 2)


def test_a_server_that_is_not_there_costs_the_history_only(labctl: Labctl) -> None:
    url = "postgresql://ann@127.0.0.1:1/lab"
    done = labctl("report", LABCTL_GPU_DB=url)
    assert done.returncode == 3
    assert "pg_isready" in done.stderr
    assert "Traceback" not in done.stderr
    data = json.loads(labctl("local", "--json", LABCTL_GPU_DB=url).stdout)
    assert len(data["hosts"][0]["units"]) == 3
    assert data["remark"].startswith("without bookings and history: postgresql://ann@127.0.0.1:1")


def test_record_and_report(labctl: Labctl) -> None:
    assert labctl("report").returncode == 1
    assert labctl("record", "local").stdout == "3 samples\n"
    # A second one in a later second: time passes by itself, a run takes longer than that.
    deadline = time.monotonic() + 60
    while labctl("record", "local").stdout != "3 samples\n":
        assert time.monotonic() < deadline
    done = labctl("report", "--since", "1d", "--csv")
    assert done.returncode == 0
    header, *rows = done.stdout.splitlines()
    assert header.startswith("host,gpu,model,person,state,hours")
    assert len(rows) == 3
    data = json.loads(labctl("report", "--json").stdout)
    assert {share["state"] for share in data["shares"]} == {"busy", "free"}


def test_replay(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "a.xml").write_text(
        xml_report(xml_card(), xml_card(bus="02", used="9 GiB"))
    )
    (tmp_path / "rec" / "notes.md").write_text("# not a recording\n")
    done = labctl("--replay", "rec")
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["STATE", "free", "ghost"]
    data = json.loads(labctl("--replay", "rec/a.xml", "--json").stdout)
    assert data["schema"] == "labctl.gpu/1"
    assert labctl("--replay", "rec/notes.md").returncode == 2
