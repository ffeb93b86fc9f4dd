"""From the words of the command line to machines at work: selection, passwords, the one question.

Whoever shows a run (terminal, JSON) gives a `Front`; this module knows how to do, not how to show.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import yaml

from labctl.errors import UnreachableError, UsageError
from labctl.inventory.model import Host, Inventory
from labctl.inventory.resolve import ResolvedHost
from labctl.setup.control import context
from labctl.setup.engine import Hooks, HostRun
from labctl.setup.events import Event, HostDone, HostResult, ItemDone
from labctl.setup.journal import Journal, list_runs
from labctl.setup.options import Options
from labctl.setup.plan import Plan, arrange, unique
from labctl.setup.profile import build_items, values_for
from labctl.setup.resource import Change, Resource
from labctl.setup.run import Job, MainThread, run_all
from labctl.transport.early import EarlyConnections
from labctl.transport.local import LocalSession
from labctl.transport.machines import LOCAL, Machines, choose
from labctl.transport.session import Session, Sudo
from labctl.transport.ssh import Access, connect

DEFAULT_PROFILES = ("base",)


class Front(Protocol):
    """Where a run is shown and a person is asked."""

    def event(self, event: Event) -> None:
        """Show what happened; called from several threads."""

    def confirm(self, plans: Mapping[str, Plan]) -> bool:
        """Ask once whether the plans shall be carried out."""

    def ask_password(self, prompt: str) -> str | None:
        """Ask for a password without echo; None where nobody can be asked."""

    def accept_host_key(self, name: str, kind: str, mark: str) -> bool:
        """Ask whether an unknown host key is right."""


class Passwords:
    """Passwords that a person gave once for all machines; asked for when first needed."""

    def __init__(self, options: Options, front: Front, main: MainThread) -> None:
        self._front = front
        self._main = main
        self._lock = threading.Lock()
        self._login: str | None = None
        self._sudo: str | None = None
        self._ask_login = options.ask_pass
        if options.password_stdin:
            self._login = self._sudo = sys.stdin.readline().rstrip("\n")
            if not self._login:
                raise UsageError("standard input has no password", thing="--password-stdin")
        if options.ask_pass:
            self._login = self._ask("--ask-pass", "Login password: ")
        if options.ask_sudo_pass:
            self._sudo = self._ask("--ask-sudo-pass", "sudo password: ")

    def _ask(self, option: str, prompt: str) -> str:
        password = self._front.ask_password(prompt)
        if password is None:
            raise UsageError(
                "nobody can be asked here", thing=option, action="use --password-stdin"
            )
        return password

    def login(self, name: str) -> str | None:
        """Return the login password; where none was given, a person is asked once."""
        with self._lock:
            if self._login is None and not self._ask_login:
                self._ask_login = True
                prompt = f"{name} takes no key of ours. Login password (Enter for none): "
                self._login = self._main.ask(lambda: self._front.ask_password(prompt))
            return self._login or None

    def sudo(self, name: str) -> str | None:
        """Return the sudo password: the one for sudo, else the one for logging in."""
        return self._sudo or self._login or None


class _Question:
    """Asks once, when the plans of all machines are there that can give one."""

    def __init__(self, hosts: Sequence[str], front: Front, main: MainThread) -> None:
        self._front = front
        self._main = main
        self._lock = threading.Lock()
        self._open = set(hosts)
        self._plans: dict[str, Plan] = {}
        self._answer: Future[bool] = Future()

    def planned(self, host: str, plan: Plan) -> bool:
        """Wait until everybody has a plan, and for the answer."""
        with self._lock:
            self._plans[host] = plan
        with self._main.idle():
            self.out(host)
            while not self._main.cancelled.is_set():
                with contextlib.suppress(TimeoutError):
                    return self._answer.result(timeout=0.2)
        return False

    def out(self, host: str) -> None:
        """The machine has a plan, or gives none."""
        with self._lock:
            if host not in self._open:
                return
            self._open.discard(host)
            complete = not self._open
        if complete and self._plans:
            with contextlib.suppress(CancelledError):
                self._answer.set_result(self._main.ask(lambda: self._front.confirm(self._plans)))


@dataclass
class Work:
    """A prepared run.

    Attributes:
        jobs: One for each machine.
        options: What was asked.
        journal: Its journal; None for a run that only looks.
    """

    jobs: list[Job]
    options: Options
    main: MainThread
    journal: Journal | None = None

    @property
    def run_id(self) -> str | None:
        """Id of the run in the journal."""
        return self.journal.id if self.journal else None

    def run(self) -> list[HostResult]:
        """Set all machines up."""
        try:
            return run_all(self.jobs, workers=self.options.jobs, main=self.main)
        finally:
            if self.journal:
                self.journal.close()


def prepare(
    load: Callable[[], Inventory],
    options: Options,
    front: Front,
    *,
    machines: Machines | None = None,
    early: EarlyConnections | None = None,
) -> Work:
    """Select the machines, build their items, and get ready to run.

    Args:
        load: Loads the inventory, where it is needed.
        options: What was asked.
        front: Where the run is shown.
        machines: The machines, where the caller has selected them already.
        early: Connections to them that have been begun.

    Raises:
        UsageError: The command line, the inventory or a profile is not right.
    """
    names = list(options.hosts)
    profiles = list(options.profiles)
    settings = parse_settings(options.settings)
    if options.retry_failed:
        names, profiles, settings = _left_over(names, profiles, settings)
    if machines is None:
        machines = choose(names, load, verb="setup")
    main = MainThread()
    labels = [host.name for host in machines.hosts] or [LOCAL]
    maker = _Maker(options, front, main, _Question(labels, front, main), early)
    jobs = []
    hosts: list[Host | None] = [*machines.hosts] or [None]
    for name, host in zip(labels, hosts, strict=True):
        own = (list(host.profiles) if host else []) or list(DEFAULT_PROFILES)
        wanted = profiles or own
        given = {**values_for(host.vars if host else {}, wanted, own), **settings}
        jobs.append(maker.job(name, machines.target(host) if host else None, wanted, given))
    # Last: a mistake found on the way here must not leave a run behind that did nothing.
    if not options.check:
        maker.journal = Journal(labels, profiles=profiles or None, settings=settings)
    return Work(jobs, options, main, maker.journal)


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``--set NAME=VALUE``, VALUE read as YAML.

    Raises:
        UsageError: A word has no ``=`` or its value is not YAML.
    """
    values = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"'{word}' is not NAME=VALUE", thing="--set")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"the value of {name} is not YAML", thing="--set") from error
    return values


def _left_over(
    names: list[str], profiles: list[str], settings: dict[str, Any]
) -> tuple[list[str], list[str], dict[str, Any]]:
    last = next((run for run in list_runs() if run.state != "running"), None)
    if last is None:
        raise UsageError("there is no run to go on with", thing="--retry-failed")
    left = [name for name in last.unfinished if not names or name in names]
    if not left:
        raise UsageError(f"run {last.id} left nothing to do", thing="--retry-failed")
    return left, profiles or list(last.profiles or ()), settings or dict(last.settings)


class _Maker:
    """Makes the job of each machine; what is the same for all is held here."""

    def __init__(
        self,
        options: Options,
        front: Front,
        main: MainThread,
        question: _Question,
        early: EarlyConnections | None,
    ) -> None:
        self.options = options
        self.front = front
        self.journal: Journal | None = None
        self.main = main
        self.question = question
        self.early = early
        self.passwords = Passwords(options, front, main)

    def job(
        self,
        name: str,
        reached: ResolvedHost | UnreachableError | None,
        profiles: Sequence[str],
        given: Mapping[str, object],
    ) -> Job:
        """Return the job of one machine; mistakes in its profiles are found now, for all."""
        target = reached if isinstance(reached, ResolvedHost) else None
        problem = reached if isinstance(reached, UnreachableError) else None
        items: list[Resource] = []
        if problem is None:
            items = arrange(unique(build_items(profiles, given, context(name, target))))
        connect = partial(self._connect, target, problem)
        prove = partial(self._prove, target) if target else None
        run = HostRun(name, items, connect, self._hooks(prove), check=self.options.check)
        return Job(name, run)

    def _hooks(self, prove: Callable[[], None] | None) -> Hooks:
        ask = self.options.yes or self.options.check
        return Hooks(
            emit=self._emit,
            go_ahead=(lambda host, plan: True) if ask else self.question.planned,
            record=self._record,
            prove_login=prove,
            cancelled=self.main.cancelled.is_set,
        )

    def _record(self, host: str, changes: Sequence[tuple[Resource, Change]]) -> None:
        if self.journal:
            self.journal.before(host, changes)

    def _emit(self, event: Event) -> None:
        if self.journal and isinstance(event, ItemDone):
            result = event.result
            self.journal.after(event.host, result.id, result.status, result.error)
        if isinstance(event, HostDone):
            if self.journal:
                self.journal.done(event.result)
            self.question.out(event.host)
        self.front.event(event)

    def _connect(self, target: ResolvedHost | None, problem: UnreachableError | None) -> Session:
        if problem:
            raise problem
        if target is None:
            return LocalSession(Sudo(lambda: self.passwords.sudo(LOCAL)))
        return connect(target, self._access())

    def _prove(self, target: ResolvedHost) -> None:
        connect(target, self._access(), keys_only=True).close()

    def _decide(self, name: str, kind: str, mark: str) -> bool:
        if self.options.accept_new:
            return True
        return self.main.ask(lambda: self.front.accept_host_key(name, kind, mark))

    def _access(self) -> Access:
        return Access(
            password=self.passwords.login,
            sudo_password=self.passwords.sudo,
            decide=self._decide,
            connect_timeout=self.options.connect_timeout,
            early=self.early,
        )
