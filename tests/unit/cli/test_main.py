"""The command line: exit codes, one-line errors, JSON, completion, and never a traceback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl import errors
from labctl.cli.main import COMMANDS
from labctl.errors import ExitCode

ROOT = Path(__file__).parents[3]
Labctl = Callable[..., "subprocess.CompletedProcess[str]"]


def raising(expression: str) -> str:
    """Return a patch that makes ``labctl inventory check`` raise ``expression``."""
    return (
        "import errno\nfrom labctl import errors\nfrom labctl.cli.common import AppContext\n"
        f"def load(self):\n    raise {expression}\n"
        "AppContext.load_inventory = load\n"
    )


SHOW = ("inventory", "show")


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("errors.LabctlError('x')", 1),
        ("errors.UsageError('x')", 2),
        ("errors.DependencyError('x')", 2),
        ("errors.UnreachableError('x')", 3),
        ("errors.BusyError('x')", 4),
        ("KeyboardInterrupt", 130),
        ("ValueError('x')", 1),
        ("OSError(28, 'No space left on device', '/f')", 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code(labctl: Labctl, expression: str, code: int) -> None:
    said = labctl(*SHOW, patch=raising(expression))
    assert said.returncode == code
    assert "Traceback" not in said.stderr + said.stdout
    # Click ends the line of a terminal's ^C first.
    (line,) = said.stderr.strip().splitlines()
    assert line.startswith("labctl: ")


def test_the_page_of_exit_codes_has_all_of_them() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    for code in ExitCode:
        assert f"| {int(code)} |" in page


def test_no_kind_of_error_is_without_a_code_of_the_table() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LabctlError)
    ]
    assert len(kinds) >= 5
    assert all(isinstance(kind.exit_code, ExitCode) for kind in kinds)


def test_an_error_says_thing_cause_and_action_and_the_same_in_json(labctl: Labctl) -> None:
    patch = raising("errors.UnreachableError('is off', thing='box\\x1b[31m', action='press it')")
    said = labctl(*SHOW, "--json", patch=patch)
    assert said.returncode == 3
    assert said.stderr == "labctl: box: is off; press it\n"
    document = json.loads(said.stdout)
    assert document["schema"] == "labctl.error/1"
    assert document["error"] == {
        "thing": "box\x1b[31m",
        "cause": "is off",
        "action": "press it",
        "exit_code": 3,
    }


def test_a_defect_is_one_line_and_a_file(labctl: Labctl, home: Path) -> None:
    said = labctl(*SHOW, patch=raising("ZeroDivisionError('by \\x1b]0;x\\x07')"), SECRET="hunter2")
    assert said.returncode == 1
    assert "internal error: ZeroDivisionError" in said.stderr
    (path,) = (home / ".local/state/labctl/crashes").iterdir()
    assert str(path) in said.stderr
    text = path.read_text()
    assert "Traceback" in text
    assert "in load" in text
    assert "['inventory', 'show']" in text
    assert "hunter2" not in text


def test_a_defect_where_nothing_can_be_written(labctl: Labctl, home: Path) -> None:
    (home / ".local").write_text("in the way")
    said = labctl(*SHOW, patch=raising("ZeroDivisionError('x')"))
    assert said.returncode == 1
    assert "internal error: ZeroDivisionError: x" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["setpu"], "Did you mean 'setup'?"),
        (["xyzzy"], "See 'labctl --help'."),
        (["setup", "--chekc"], "--check"),
        (["setup", "--jobs", "0"], "0"),
        (["setup", "--jobs", "many"], "many"),
        (["--nonsense"], "--nonsense"),
        (["setup", "--yes"], "no host given"),
        (["setup", "local"], "nobody can be asked here"),
        (["setup", "local", "--json"], "nobody can be asked here"),
        (["setup", "box9", "--check"], "inventory"),
        (["setup", "local", "--check", "--profile", "bas"], "did you mean 'base'?"),
        (["setup", "local", "--check", "--set", "timezon=x"], "did you mean 'timezone'?"),
        (["setup", "local", "--check", "--set", "x"], "NAME=VALUE"),
        (["setup", "local", "--check", "--set", "timezone=["], "not YAML"),
        (["setup", "--retry-failed", "--yes"], "no run to go on with"),
        (["setup", "--show", "20990101"], "no run starts with"),
        (["setup", "local", "--yes", "--password-stdin"], "standard input has no password"),
        (["-i", "/no/such/file", "inventory", "show"], "/no/such/file"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_bad_usage_is_exit_2_and_says_what_to_do(
    labctl: Labctl, arguments: list[str], says: str
) -> None:
    said = labctl(*arguments)
    assert said.returncode == 2, said
    assert says in said.stderr
    assert "Traceback" not in said.stderr


def test_a_name_that_is_not_utf8(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("hosts:\n  box1: {}\n")
    for more in ([], ["--json"]):
        said = labctl("setup", "--check", "b\udcff", *more)
        assert said.returncode == 2, said
        assert "Traceback" not in said.stderr
    assert json.loads(said.stdout)["schema"] == "labctl.error/1"


def test_a_terminal_without_unicode(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("hosts:\n  box1: {tags: [x]}\n")
    said = labctl("inventory", "show", "größe…", LANG="C", PYTHONIOENCODING="ascii")
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
    assert "internal error" not in said.stderr


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run(
        [sys.executable, "-m", "labctl", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )
    os.close(writer)
    assert (said.returncode, said.stderr) == (0, b"")


# -- help ----------------------------------------------------------------------------------------


def test_help_and_version(labctl: Labctl) -> None:
    from labctl import __version__

    for word in ("--help", "-h"):
        said = labctl(word)
        assert said.returncode == 0
        for name in COMMANDS:
            assert name in said.stdout
        assert "Exit codes:" in said.stdout
    for word in ("--version", "-V"):
        assert labctl(word).stdout == f"labctl, version {__version__}\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_examples(labctl: Labctl, name: str) -> None:
    import click

    from labctl.cli.main import app

    command = app.get_command(click.Context(app), name)
    assert command is not None
    todo = [([name], command)]
    while todo:
        path, one = todo.pop()
        said = labctl(*path, "--help")
        assert said.returncode == 0
        assert one.help, path
        if isinstance(one, click.Group):
            todo += [([*path, sub], inner) for sub, inner in one.commands.items()]
        else:
            assert "Examples:" in said.stdout, f"{path} has no examples"
        assert max(len(line) for line in said.stdout.splitlines()) <= 100, path


# -- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_completion_code_is_code_of_that_shell(labctl: Labctl, shell: str, check: str) -> None:
    said = labctl("completion", shell)
    assert said.returncode == 0
    assert "labctl" in said.stdout
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, check], input=said.stdout.encode(), check=True, timeout=20)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("labctl se", {"setup"}),
        ("labctl setup b", {"box1", "box2"}),
        ("labctl setup @", {"@demo"}),
        ("labctl setup --acc", {"--accept-new"}),
    ],
)
def test_completion_of_words(
    labctl: Labctl, tmp_path: Path, words: str, expected: set[str]
) -> None:
    (tmp_path / "inventory.yaml").write_text(
        "hosts:\n  box1: {tags: [demo]}\n  box2: {}\n  other: {}\n"
    )
    said = labctl(
        _LABCTL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
    )
    got = {line.partition(",")[2] for line in said.stdout.splitlines()}
    assert got, said
    assert expected <= got
    assert all(word.startswith(words.rsplit(maxsplit=1)[-1]) for word in got)


def test_completion_is_silent_where_the_inventory_is_broken(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("hosts: [")
    said = labctl(_LABCTL_COMPLETE="bash_complete", COMP_WORDS="labctl setup b", COMP_CWORD="2")
    assert said.stderr == ""
    assert said.stdout.strip() == ""
