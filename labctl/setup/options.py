"""What a person asked of ``labctl setup``; imports nothing, so that reading it costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The options of ``labctl setup``; see its help."""

    hosts: Sequence[str] = ()
    check: bool = False
    diff: bool = False
    yes: bool = False
    jobs: int = 50
    profiles: Sequence[str] = ()
    settings: Sequence[str] = ()
    accept_new: bool = False
    ask_pass: bool = False
    ask_sudo_pass: bool = False
    password_stdin: bool = False
    connect_timeout: float = 10.0
    retry_failed: bool = False
    json: bool = False

    @property
    def connect_ahead(self) -> int:
        """How many machines are connected to before they are at work.

        None where a person types a password first: a server does not wait for ever.
        """
        return 0 if self.ask_pass or self.ask_sudo_pass or self.password_stdin else self.jobs
