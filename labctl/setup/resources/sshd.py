"""``sshd``: how people log in, changed so that nobody is locked out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field, field_validator

from labctl.setup.content import planned_edit
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState, digest
from labctl.setup.facts.system import SshdFact, SshdState
from labctl.setup.remote_files import replace_file
from labctl.setup.resource import Change, ImpossibleError, Resource
from labctl.setup.resources.line import replace_edited

# sshd_config(5): the first value found counts, so the file that is read first decides.
_FILE = "/etc/ssh/sshd_config.d/00-labctl.conf"
_MAIN = "/etc/ssh/sshd_config"

# sshd -T prints the old word for this value.
_SAME = {"without-password": "prohibit-password"}

# The daemon reads its files again on SIGHUP, whoever started it; open sessions stay.
_RELOAD = """\
if [ -d /run/systemd/system ]; then systemctl reload ssh
elif [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; fi"""


class Sshd(Resource):
    """These settings are in force in sshd, whatever its other files say.

    The new configuration is validated by sshd itself before it is used. labctl proves a fresh
    login by key before the change and again after it, and puts the old file back if that fails.
    """

    kind: ClassVar[str] = "sshd"
    main: ClassVar[str] = "name"
    proves_login: ClassVar[bool] = True

    name: str = "settings"
    settings: Mapping[str, str] = Field(description="sshd_config(5) keywords and their values")

    @field_validator("settings", mode="before")
    @classmethod
    def _words(cls, settings: object) -> object:
        if isinstance(settings, dict):
            # YAML reads a bare yes or no as a truth value; sshd wants the word.
            words = {True: "yes", False: "no"}
            return {k: words[v] if isinstance(v, bool) else str(v) for k, v in settings.items()}
        return settings

    def facts(self) -> Iterable[Fact]:
        """The settings in force, and our file."""
        yield SshdFact()
        yield PathFact(_FILE, content=True, unless=digest(self._text()))
        yield PathFact(_MAIN, content=True)

    def _text(self) -> bytes:
        lines = [f"{key} {value}" for key, value in self.settings.items()]
        return ("# Managed by labctl; changes here are lost.\n" + "\n".join(lines) + "\n").encode()

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare what sshd does with what it should do."""
        sshd = world.get(SshdFact(), SshdState)
        if not sshd.installed:
            return None  # no daemon, no login to protect
        if sshd.settings is None:
            raise ImpossibleError(
                "sshd does not accept its present configuration",
                thing=_MAIN,
                action="see 'sshd -t' on the machine",
            )
        wrong = {
            key: sshd.settings.get(key.lower(), "")
            for key, value in self.settings.items()
            if _same(sshd.settings.get(key.lower(), "")) != _same(value)
        }
        state = world.get(PathFact(_FILE), PathState)
        file_change = planned_edit(
            _FILE, state, self._text(), mode=0o644, owner="root", group="root"
        )
        if file_change is None:
            if wrong:
                raise ImpossibleError(
                    f"it says {_spell(self.settings, wrong)} but sshd does "
                    + ", ".join(f"{k} {v}" for k, v in wrong.items()),
                    thing=_FILE,
                    action=f"does {_MAIN} include {_FILE.rpartition('/')[0]} at its top?",
                )
            return None
        forced = {**sshd.settings, **{k.lower(): v for k, v in self.settings.items()}}
        return Change(
            _spell(self.settings, wrong) or file_change.summary,
            ", ".join(f"{k} {v}" for k, v in wrong.items()) or file_change.before,
            _spell(self.settings, wrong) or file_change.after,
            file_change.diff,
            {**file_change.effects, SshdFact(): replace(sshd, settings=forced)},
            file_change.backup,
        )

    def apply(self, change: Change) -> str:
        """Replace our file; put it back unless sshd accepts all of its configuration."""
        if not change.backup:
            return f"chown root:root {_FILE} && chmod 644 {_FILE}"
        return (
            f"mkdir -p {_FILE.rpartition('/')[0]}\n"
            f"{replace_edited(_FILE, change)}\n"
            f"if ! sshd -t; then\n{self._put_back(change)}\nexit 1\nfi\n{_RELOAD}"
        )

    def _put_back(self, change: Change) -> str:
        if _FILE not in change.backup:
            return "true"  # its content was right all along
        before = change.backup[_FILE]
        if before is None:
            return f"rm -f {_FILE}"
        return replace_file(
            _FILE, before, before=self._text(), mode=0o644, owner="root", group="root"
        )

    def revert(self, change: Change) -> str:
        """Put the old file back and let sshd read it."""
        return f"{self._put_back(change)}\n{_RELOAD}"


def _same(value: str) -> str:
    return _SAME.get(value.lower(), value.lower())


def _spell(settings: Mapping[str, str], keys: Iterable[str]) -> str:
    return ", ".join(f"{key} {settings[key]}" for key in keys)
