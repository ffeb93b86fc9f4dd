"""Bring a board to where it is wanted: its boot loader's prompt, or a shell of its Linux.

Every step starts from what the board shows, never from what an earlier step should have done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.boards.signs import BoardPanicError, NotSeenError, Signs, Watcher
from labctl.boards.state import Detector, Finding, State
from labctl.errors import LabctlError

_STOP_EVERY_S = 0.2
_COUNTING_S = 3.0
_LOGIN_TRIES = 3
_PROOF_TRIES = 3
_CTRL_C = b"\x03"
# CAN eight times ends an X-, Y- or ZMODEM transfer (ZMODEM specification, section 8.3).
_ABORT_TRANSFER = b"\x18" * 8
_BREAK_S = 0.25

Say = Callable[[str], None]
Clock = Callable[[], float]


@dataclass(frozen=True)
class BootPlan:
    """How a model boots.

    Attributes:
        stop_keys: What stops its boot loader's countdown.
        uboot_timeout_s: From reset to the boot loader's prompt, seconds.
        linux_commands: What the boot loader is told so that it boots Linux; empty where it does
            so by itself after a reset.
        linux_timeout_s: From there to the login prompt or shell, seconds.
        user: Login user, or None where there is no login.
    """

    stop_keys: bytes = b" "
    uboot_timeout_s: float = 30.0
    linux_commands: Sequence[str] = ("boot",)
    linux_timeout_s: float = 120.0
    user: str | None = "root"


class Booter:
    """Boots one board.

    Args:
        detector: Finds out where it is.
        plan: How its model boots.
        restart: Switches it off and on (or resets it); None where only a person can.
        send_line: Types a line without waiting for an answer, by the boot loader's rules.
        password: Returns the login password, or None where nobody knows it.
        say: Gets a line for each step.
        tail: Returns the last bytes of the record.
    """

    def __init__(
        self,
        detector: Detector,
        plan: BootPlan,
        *,
        restart: Callable[[], None] | None,
        send_line: Callable[[str], None],
        password: Callable[[], str | None],
        say: Say,
        tail: Callable[[], bytes],
    ) -> None:
        self._detector = detector
        self._plan = plan
        self._restart = restart
        self._send_line = send_line
        self._password = password
        self._say = say
        self._tail = tail

    @property
    def _watcher(self) -> Watcher:
        return self._detector.watcher

    @property
    def _signs(self) -> Signs:
        return self._detector.signs

    def find(self) -> Finding:
        """Return where the board is now."""
        return self._detector.detect(self._tail())

    def to_uboot(self, *, force: bool = False) -> None:
        """Bring the board to its boot loader's prompt.

        Args:
            force: Restart it even if it is there already.

        Raises:
            LabctlError: It has no boot loader, cannot be restarted, or does not come.
        """
        name = self._watcher.name
        if self._signs.uboot_prompt is None:
            raise LabctlError("its model describes no boot loader", thing=name)
        finding = self.find()
        self._say(f"it is: {finding.state}")
        if finding.state is State.UBOOT and not force:
            return
        if finding.state is State.COUNTING and not force:
            try:
                self._stop_countdown(counting=True)
            except NotSeenError:
                # It had counted to its end before we could type.
                self._say("too late to stop it")
            else:
                return
        self._restart_board(finding)
        self._stop_countdown()

    def _restart_board(self, finding: Finding) -> None:
        if self._restart is None:
            raise LabctlError(
                f"it is in state '{finding.state}' and its power cannot be switched from here",
                thing=self._watcher.name,
                action="write 'power:' into the inventory, or reset it by hand while this waits",
            )
        self._say("restarting it")
        self._watcher.forget()
        self._restart()
        # What it said before may still be on its way; its banner is the beginning.
        banner = {f"banner {at}": sign for at, sign in enumerate(self._signs.rom)}
        if banner:
            self._watcher.wait(banner, timeout_s=self._plan.uboot_timeout_s)

    def _stop_countdown(self, *, counting: bool = False) -> None:
        """Send the stop keys from the countdown on, until the prompt proves itself.

        Args:
            counting: It is counting already; a few seconds tell whether it can be stopped.
        """
        assert self._signs.uboot_prompt is not None
        prompt = {"prompt": self._signs.uboot_prompt}
        patience_s = _COUNTING_S if counting else self._plan.uboot_timeout_s
        deadline = time.monotonic() + patience_s
        wanted = dict(prompt)
        if self._signs.autoboot is not None:
            wanted["countdown"] = self._signs.autoboot
        seen = "countdown" if counting else self._watcher.wait(wanted, timeout_s=patience_s)
        while seen != "prompt":
            # Only while it counts: a key that is typed earlier may be lost, later it may boot.
            self._detector.channel.write(self._plan.stop_keys)
            try:
                seen = self._watcher.wait(prompt, timeout_s=_STOP_EVERY_S, at_end=True)
            except NotSeenError:
                if time.monotonic() > deadline:
                    raise
        for _ in range(_PROOF_TRIES):
            finding = self.find()
            if finding.state is State.UBOOT:
                return
            # What is left of the stop keys, or of a probe on a busy machine, is wiped.
            self._detector.channel.write(_CTRL_C)
        raise LabctlError(
            f"its boot loader does not answer; it last said: {finding.evidence}",
            thing=self._watcher.name,
            action=f"labctl console --watch {self._watcher.name}",
        )

    def to_linux(self, *, force: bool = False) -> None:
        """Bring the board to a shell of its Linux, logged in.

        Args:
            force: Restart it even if it is there already.

        Raises:
            LabctlError: It does not boot, panics, or does not let us in.
        """
        finding = self.find()
        self._say(f"it is: {finding.state}")
        if force or finding.state in (State.PANIC, State.SILENT):
            self._restart_board(finding)
            finding = Finding(State.ROM, False, "")
        if finding.state is State.SHELL:
            return
        if finding.state is State.UBOOT:
            self._say("booting Linux")
            self._watcher.forget()
            for command in self._plan.linux_commands:
                self._send_line(command)
        if finding.state not in (State.LOGIN, State.PASSWORD):
            self._wait_for_login()
        self.log_in()

    def _wait_for_login(self) -> None:
        wanted = {
            name: pattern
            for name, pattern in (("login", self._signs.login), ("shell", self._signs.shell_prompt))
            if pattern is not None
        }
        if not wanted:
            raise LabctlError("its model describes no login", thing=self._watcher.name)
        seen = self._watcher.wait(wanted, timeout_s=self._plan.linux_timeout_s, at_end=True)
        self._say(f"{seen} prompt seen")

    def log_in(self) -> None:
        """Log in at the login prompt, or prove the shell that is there.

        Raises:
            LabctlError: The board does not let us in, or no shell answers.
        """
        name = self._watcher.name
        for _ in range(_LOGIN_TRIES):
            finding = self.find()
            if finding.state is State.SHELL:
                return
            if finding.state is State.LOGIN and self._plan.user is not None:
                self._answer_login(self._plan.user)
        raise LabctlError(
            f"no shell answers; it last said: {self._watcher.last_words()}",
            thing=name,
            action=f"look with 'labctl console {name}'",
        )

    def _answer_login(self, user: str) -> None:
        self._watcher.forget()
        self._detector.channel.write(user.encode() + b"\r")
        wanted = {
            name: pattern
            for name, pattern in (
                ("password", self._signs.password),
                ("shell", self._signs.shell_prompt),
                ("refused", self._signs.login),
            )
            if pattern is not None
        }
        seen = self._watcher.wait(wanted, timeout_s=30.0, at_end=True)
        if seen != "password":
            return
        secret = self._password()
        if secret is None:
            self._detector.channel.write(_CTRL_C)
            raise LabctlError(
                f"it asks for the password of {user}", thing=self._watcher.name,
                action="rerun with --ask-pass",
            )  # fmt: skip
        # Not through the closed loop: a password is not echoed.
        self._detector.channel.write(secret.encode() + b"\r")
        del wanted["password"]
        if self._watcher.wait(wanted, timeout_s=30.0, at_end=True) == "refused":
            raise LabctlError(
                f"it refused the password of {user}", thing=self._watcher.name,
                action="rerun with --ask-pass",
            )  # fmt: skip


@dataclass(frozen=True)
class Rung:
    """One step of the ladder that was taken.

    Attributes:
        name: What was done.
        finding: Where the board was then.
        seconds: What it cost.
    """

    name: str
    finding: Finding
    seconds: float


def recover(
    booter: Booter,
    detector: Detector,
    *,
    restart: Callable[[], None] | None,
    record: Callable[[Rung], None],
) -> Finding:
    """Bring a line that does not answer back to some prompt, by the mildest means that works.

    Each step is proved by a probe before the next one is taken.

    Args:
        booter: Finds out where the board is.
        detector: Its channel and signs.
        restart: The last resort: power cycle; None where only a person can.
        record: Gets each step, for the log.

    Returns:
        Where the board is in the end.

    Raises:
        LabctlError: Nothing helped.
    """
    channel = detector.channel

    def send_break() -> None:
        channel.send_break(_BREAK_S)

    steps: list[tuple[str, Callable[[], None]]] = [
        ("probe", lambda: None),
        ("Ctrl-C", lambda: channel.write(_CTRL_C)),
        ("abort a transfer", lambda: channel.write(_ABORT_TRANSFER + b"\r" + _CTRL_C)),
        ("break", send_break),
    ]
    if restart is not None:
        steps.append(("power cycle", restart))
    at_prompt = (State.UBOOT, State.LOGIN, State.SHELL)
    for name, step in steps:
        started = time.monotonic()
        try:
            step()
            if name == "power cycle":
                detector.watcher.forget()
                detector.watcher.wait(detector.signs.prompts(), timeout_s=120.0)
            finding = booter.find()
        except BoardPanicError as error:
            finding = Finding(State.PANIC, True, error.cause.splitlines()[-1])
        except LabctlError as error:
            # A line without break, a board that says nothing: the next step is tried.
            finding = Finding(State.SILENT, False, error.cause)
        record(Rung(name, finding, round(time.monotonic() - started, 3)))
        if finding.state in at_prompt and finding.proved:
            return finding
    raise LabctlError(
        "nothing brought it back to a prompt", thing=detector.watcher.name,
        action="look at its power and cables, or reset it by hand",
    )  # fmt: skip
