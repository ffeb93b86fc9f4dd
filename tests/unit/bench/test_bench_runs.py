import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import processes
import pytest
from harness import Times
from peers import Ansible, Pyinfra
from processes import Ended, peer, run
from setup_noop import Ours, build_report

from labctl.errors import DependencyError, LabctlError


def prints(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"print({text!r})")


def test_a_process_is_timed_and_heard() -> None:
    ended = run(prints("hello"))
    assert ended.output == "hello\n"
    assert 0 < ended.seconds < 60


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(LabctlError, match=r"(?s)status 3.*no disk"):
        run([sys.executable, "-c", "import sys; print('no disk'); sys.exit(3)"])


def test_a_process_has_a_deadline() -> None:
    with pytest.raises(LabctlError, match="more than 0 s"):
        run([sys.executable, "-c", "import signal; signal.pause()"], deadline=0.3)


def test_a_peer_that_is_not_there_names_the_make_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PEERS", tmp_path)
    with pytest.raises(DependencyError, match="make bench-env"):
        peer("pyinfra")


def pyinfra(tmp_path: Path, **totals: int) -> Pyinfra:
    answer = json.dumps({"results": {"totals": {"hosts": 16, **totals}}})
    return Pyinfra(prints(answer), tmp_path, 1)


def test_pyinfra_that_changes_nothing_counts(tmp_path: Path) -> None:
    assert pyinfra(tmp_path, success=0, error=0, no_change=16).run() > 0


@pytest.mark.parametrize("totals", [(1, 0, 15), (0, 1, 15), (0, 0, 0)])
def test_pyinfra_that_changes_something_does_not(
    totals: tuple[int, int, int], tmp_path: Path
) -> None:
    success, error, no_change = totals
    with pytest.raises(LabctlError, match="pyinfra: was to change nothing"):
        pyinfra(tmp_path, success=success, error=error, no_change=no_change).run()


RECAP = """
PLAY RECAP *********************************************************************
fleet01                    : ok=16   changed=0    unreachable=0    failed=0    skipped=0
fleet02                    : ok=16   changed={changed}    unreachable=0    failed=0    skipped=0
"""


def test_ansible_that_changes_nothing_counts(tmp_path: Path) -> None:
    assert Ansible(prints(RECAP.format(changed=0)), tmp_path, 2).run() > 0


@pytest.mark.parametrize(("changed", "hosts"), [(1, 2), (0, 3)])
def test_ansible_that_changes_something_or_misses_a_host_does_not(
    changed: int, hosts: int, tmp_path: Path
) -> None:
    with pytest.raises(LabctlError, match="ansible-core: was to change nothing"):
        Ansible(prints(RECAP.format(changed=changed)), tmp_path, hosts).run()


def ours(changed: int = 0, failed: int = 0, unchanged: int = 20) -> Ours:
    summary = {"changed": changed, "failed": failed, "unchanged": unchanged}
    answer = json.dumps({"summary": summary, "hosts": [{"round_trips": 1}, {"round_trips": 2}]})
    fleet = SimpleNamespace(setup=lambda *words, inventory: Ended(0.5, answer))
    return Ours(fleet, ("@fleet",), 20)  # type: ignore[arg-type]


def test_our_own_run_counts_when_all_was_looked_at() -> None:
    one = ours()
    assert (one.run(), one.round_trips) == (0.5, 2)


@pytest.mark.parametrize("bad", [{"changed": 1}, {"failed": 1}, {"unchanged": 19}])
def test_our_own_run_is_checked_like_the_peers(bad: dict[str, int]) -> None:
    with pytest.raises(LabctlError, match="labctl setup: was to change nothing"):
        ours(**bad).run()


def test_the_report_compares_ours_with_everybody() -> None:
    options = argparse.Namespace(hosts=20)
    many = {"ours": Times((1.0,)), "floor": Times((0.8,)), "pyinfra": Times((9.0,))}
    single = {"ours": Times((0.5,)), "floor": Times((0.4,)), "pyinfra": Times((2.0,))}
    far = {
        "5 items": {"seconds": 1.0, "turns": 8},
        "20 items": {"seconds": 1.0, "turns": 8},
        "80 items": {"seconds": 1.1, "turns": 9},
    }
    report = build_report(options, many, single, far, round_trips=1)
    assert report.ratios["ours / floor"] == pytest.approx(1.25)
    assert report.ratios["pyinfra / ours"] == pytest.approx(9.0)
    assert report.ratios["pyinfra / ours, 1 box"] == pytest.approx(4.0)
    assert report.ratios["turns at 50 ms, 80 / 5 items"] == pytest.approx(9 / 8)
    # Ansible took no part, so nothing is claimed about it; a turn more is a missed aim.
    assert "ansible-core / ours" not in report.aims
    assert report.holds is False
