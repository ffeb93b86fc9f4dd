import argparse
import json

import pytest
from harness import Aim, Contender, Report, Say, Times, argument_parser, interleave, run_bench

from labctl.errors import DependencyError


def quiet(text: str) -> None:
    pass


def contender(name: str, log: list[str], most: int | None = None) -> Contender:
    def run() -> float:
        log.append(name)
        return float(len(log))

    return Contender(name, run, most)


def test_contenders_take_turns_and_slow_ones_stop_early() -> None:
    log: list[str] = []
    times = interleave([contender("a", log), contender("slow", log, most=1)], 3, quiet)
    assert log == ["a", "slow", "a", "a"]
    assert times["a"].values == (1.0, 3.0, 4.0)
    assert times["slow"].values == (2.0,)


def test_every_round_is_told() -> None:
    told: list[str] = []
    interleave([contender("ours", [])], 2, told.append)
    assert told == ["  round 1 of 2: ours 1", "  round 2 of 2: ours 2"]


def test_the_figure_is_the_median() -> None:
    times = Times((9.0, 1.0, 2.0))
    assert (times.median, times.best) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("aim", "measured", "holds"),
    [
        (Aim(2.0), 2.0, True),
        (Aim(2.0), 2.01, False),
        (Aim(8.0, at_most=False), 8.0, True),
        (Aim(8.0, at_most=False), 7.9, False),
    ],
)
def test_aims_have_a_direction(aim: Aim, measured: float, holds: bool) -> None:
    assert aim.holds(measured) is holds


def report(ratio: float = 3.0) -> Report:
    return Report(
        bench="demo",
        unit="s",
        ours=1.0,
        floor=0.5,
        peers={"other": 3.0},
        ratios={"other / ours": ratio, "ours / floor": 2.0},
        aims={"ours": Aim(1.5), "other / ours": Aim(3.0, at_most=False)},
    )


def test_json_is_one_object_with_the_agreed_keys() -> None:
    document = json.loads(report().as_json())
    details = document.pop("details")
    assert details == {}
    assert document == {
        "bench": "demo",
        "unit": "s",
        "ours": 1.0,
        "floor": 0.5,
        "peers": {"other": 3.0},
        "ratios": {"other / ours": 3.0, "ours / floor": 2.0},
        "aims": {"ours": 1.5, "other / ours": 3.0},
        "holds": True,
    }


def test_one_missed_aim_is_enough() -> None:
    assert report(2.9).holds is False


def run_it(measured: Report | Exception, capsys: pytest.CaptureFixture[str], *words: str) -> tuple:
    def measure(say: Say) -> Report:
        say("working")
        if isinstance(measured, Exception):
            raise measured
        return measured

    options = argument_parser("Demo.", runs=3).parse_args(words)
    code = run_bench(options, measure)
    return code, capsys.readouterr()


def test_a_table_shows_what_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run_it(report(2.9), capsys)
    assert code == 1
    rows = {line.split("  ")[0]: line for line in printed.out.splitlines()}
    assert rows["other / ours"].endswith("MISSED")
    assert rows["ours / floor"].split() == ["ours", "/", "floor", "2.00"]
    assert printed.err == "working\n"


def test_standard_output_is_nothing_but_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run_it(report(), capsys, "--json")
    assert code == 0
    assert json.loads(printed.out)["holds"] is True


def test_what_is_missing_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = DependencyError("is not in .bench-venv", thing="pyinfra", action="make bench-env")
    code, printed = run_it(error, capsys, "--json")
    assert (code, printed.out) == (2, "")
    assert printed.err.splitlines()[1] == "bench: pyinfra: is not in .bench-venv; make bench-env"


@pytest.mark.parametrize("word", ["0", "-1", "many"])
def test_a_number_of_runs_is_at_least_one(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        argument_parser("Demo.", runs=3).parse_args(["--runs", word])
    assert caught.value.code == 2
    assert "--runs" in capsys.readouterr().err


def test_runs_have_a_default() -> None:
    assert argument_parser("Demo.", runs=7).parse_args([]) == argparse.Namespace(json=False, runs=7)
