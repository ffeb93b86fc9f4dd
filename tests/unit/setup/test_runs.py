"""Many machines in one run: nobody waits for another, one question, Ctrl-C, what is left."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from labctl.cli.setup import exit_code
from labctl.errors import UnreachableError, UsageError
from labctl.setup import job as job_module
from labctl.setup.engine import HostRun
from labctl.setup.events import Event, HostResult
from labctl.setup.job import Options, Passwords, parse_settings, prepare
from labctl.setup.plan import Plan
from labctl.setup.run import Job, MainThread, run_all


@dataclass
class Machine:
    """Stands for a machine's run: does what a test says."""

    name: str
    work: Callable[[], None] = lambda: None

    def run(self) -> HostResult:
        """Do it."""
        self.work()
        return HostResult(self.name)


def jobs(*machines: Machine) -> list[Job]:
    return [Job(machine.name, cast(HostRun, machine)) for machine in machines]


def test_results_come_in_the_order_of_the_machines() -> None:
    first = threading.Event()
    machines = jobs(Machine("slow", lambda: first.wait(20)), Machine("quick", first.set))  # type: ignore[arg-type]
    results = run_all(machines, workers=2, main=MainThread())
    assert [result.host for result in results] == ["slow", "quick"]


def test_a_slow_machine_delays_no_other() -> None:
    """The slow one ends only when all others have: with a barrier this would never end."""
    done: list[str] = []
    others = threading.Event()

    def note(name: str) -> None:
        done.append(name)
        if len(done) == 30:
            others.set()

    machines = [Machine("slow", lambda: others.wait(30))]  # type: ignore[arg-type]
    machines += [Machine(f"m{i}", lambda i=i: note(f"m{i}")) for i in range(30)]  # type: ignore[misc]
    results = run_all(jobs(*machines), workers=2, main=MainThread())
    assert others.is_set()
    assert len(results) == 31


def test_no_more_at_once_than_asked_for() -> None:
    lock, at_work, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.01)
        with lock:
            at_work -= 1

    run_all(jobs(*(Machine(f"m{i}", work) for i in range(20))), workers=3, main=MainThread())
    assert most == 3


def test_questions_are_asked_in_the_main_thread() -> None:
    main = MainThread()
    where: list[threading.Thread] = []

    def question() -> str:
        where.append(threading.current_thread())
        return "yes"

    answers: list[str] = []
    machines = [Machine(f"m{i}", lambda: answers.append(main.ask(question))) for i in range(5)]
    run_all(jobs(*machines), workers=5, main=main)
    assert answers == ["yes"] * 5
    assert set(where) == {threading.main_thread()}


def test_ctrl_c_at_a_question_calls_all_off() -> None:
    main = MainThread()

    def question() -> bool:
        raise KeyboardInterrupt

    seen: list[bool] = []

    def work() -> None:
        with pytest.raises(Exception):  # noqa: B017
            main.ask(question)
        seen.append(main.cancelled.is_set())

    results = run_all(jobs(Machine("a", work), Machine("b")), workers=1, main=main)
    assert seen == [True]
    assert results[1].status == "interrupted"
    assert results[1].error == "b: not started"


def test_a_defect_in_one_machine_is_not_swallowed() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_all(jobs(Machine("a", work), Machine("b")), workers=1, main=MainThread())


@pytest.mark.parametrize(
    ("statuses", "pending", "code"),
    [
        (["ok"], False, 0),
        ([], False, 0),
        (["ok"], True, 1),
        (["ok", "failed"], False, 1),
        (["declined"], True, 1),
        (["ok", "failed", "busy"], False, 4),
        (["busy", "unreachable", "failed"], False, 3),
        (["unreachable", "interrupted"], False, 130),
    ],
)
def test_the_most_pressing_state_decides(statuses: list[str], pending: bool, code: int) -> None:
    assert exit_code(statuses, pending=pending) == code


# -- from the words of the command line ----------------------------------------------------------


class Front:
    """Answers no questions and counts them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.questions: list[str] = []

    def event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    def confirm(self, plans: Mapping[str, Plan]) -> bool:
        """Say no."""
        self.questions.append("confirm " + " ".join(sorted(plans)))
        return False

    def ask_password(self, prompt: str) -> str | None:
        """Give one."""
        self.questions.append(prompt)
        return "secret"

    def accept_host_key(self, name: str, kind: str, mark: str) -> bool:
        """Say no."""
        return False


def never() -> object:
    raise AssertionError("no inventory is needed")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["a=1", "b=x", "c=[1, 2]"], {"a": 1, "b": "x", "c": [1, 2]}),
        (["a=true", "b=", "c='1'"], {"a": True, "b": None, "c": "1"}),
        (["a=b=c"], {"a": "b=c"}),
        (["a=1", "a=2"], {"a": 2}),
    ],
)
def test_settings(words: list[str], values: dict[str, object]) -> None:
    assert parse_settings(words) == values


@pytest.mark.parametrize("word", ["a", "=1", "", "a=[", "a={b", "a=!!python/object:os.system x"])
def test_settings_that_are_none(word: str) -> None:
    with pytest.raises(UsageError):
        parse_settings([word])


def test_a_run_that_only_looks_leaves_no_journal(home: Path) -> None:
    work = prepare(never, Options(hosts=["local"], check=True), Front())  # type: ignore[arg-type]
    assert work.run_id is None
    assert not (home / ".local/state/labctl/setup").exists()


def test_a_mistake_is_found_before_anything_begins(home: Path) -> None:
    with pytest.raises(UsageError, match="no profile is called"):
        prepare(never, Options(hosts=["local"], yes=True, profiles=["nope"]), Front())  # type: ignore[arg-type]


def test_a_mistake_on_the_command_line_leaves_no_run_behind(home: Path) -> None:
    from labctl.setup.journal import list_runs

    with pytest.raises(UsageError):
        prepare(never, Options(hosts=["local"], yes=True, profiles=["nope"]), Front())  # type: ignore[arg-type]
    assert list_runs() == []


def test_one_password_is_asked_for_once_for_all_machines() -> None:
    front = Front()
    passwords = Passwords(Options(), front, MainThread())
    assert passwords.login("box1") == passwords.login("box2") == "secret"
    assert len(front.questions) == 1
    assert "box1" in front.questions[0]
    assert passwords.sudo("box3") == "secret"


def test_what_is_left_of_the_last_run_is_what_is_tried_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from labctl.inventory.loader import load_inventory

    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(
        "hosts:\n" + "".join(f"  m{i}: {{address: 127.0.0.1}}\n" for i in range(4))
    )
    tried: list[str] = []
    down = {"m1", "m3"}

    def connect(target: object, access: object, **more: object) -> object:
        name = target.name  # type: ignore[attr-defined]
        tried.append(name)
        raise UnreachableError("no answer", thing=name)

    monkeypatch.setattr(job_module, "connect", connect)

    def run(**options: object) -> list[HostResult]:
        tried.clear()
        work = prepare(lambda: load_inventory(inventory), Options(yes=True, **options), Front())  # type: ignore[arg-type]
        for job in work.jobs:
            if job.host not in down:
                monkeypatch.setattr(job.run, "run", lambda host=job.host: _fine(work, host))
        return work.run()

    assert [result.status for result in run(hosts=["all"])] == [
        "ok", "unreachable", "ok", "unreachable"
    ]  # fmt: skip
    assert sorted(tried) == ["m1", "m3"]
    down.remove("m1")
    assert [result.host for result in run(retry_failed=True)] == ["m1", "m3"]
    assert tried == ["m3"]
    assert [result.host for result in run(retry_failed=True)] == ["m3"]
    down.clear()
    run(retry_failed=True)
    with pytest.raises(UsageError, match="left nothing to do"):
        run(retry_failed=True)


def _fine(work: object, host: str) -> HostResult:
    result = HostResult(host)
    work.journal.done(result)  # type: ignore[attr-defined]
    return result


def test_one_question_when_all_that_can_have_planned(home: Path) -> None:
    front = Front()
    main = MainThread()
    question = job_module._Question(["a", "b", "dead"], front, main)
    answers: list[bool] = []

    def ask(host: str) -> None:
        answers.append(question.planned(host, Plan(())))

    machines = jobs(
        Machine("a", lambda: ask("a")),
        Machine("b", lambda: ask("b")),
        Machine("dead", lambda: question.out("dead")),
    )
    run_all(machines, workers=3, main=main)
    assert answers == [False, False]
    assert front.questions == ["confirm a b"]


def test_one_question_though_fewer_may_work_at_once(home: Path) -> None:
    """Each waits for the plans of all: whoever waits must make room for those still to plan."""
    front = Front()
    main = MainThread()
    question = job_module._Question(["a", "b", "c"], front, main)
    answers: list[bool] = []
    machines = [
        Machine(name, lambda name=name: answers.append(question.planned(name, Plan(()))))  # type: ignore[misc]
        for name in "abc"
    ]
    run_all(jobs(*machines), workers=1, main=main)
    assert answers == [False] * 3
    assert front.questions == ["confirm a b c"]


@pytest.mark.parametrize("option", ["ask_pass", "ask_sudo_pass"])
def test_a_password_cannot_be_asked_for_where_nobody_is(option: str) -> None:
    class Nobody(Front):
        def ask_password(self, prompt: str) -> None:
            return None

    with pytest.raises(UsageError, match="nobody can be asked"):
        Passwords(Options(**{option: True}), Nobody(), MainThread())  # type: ignore[arg-type]
