"""``service``: a systemd unit is enabled, runs, and has read its present configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from labctl.setup.facts import Fact, World
from labctl.setup.facts.unit import PENDING_DIR, UnitFact, UnitState
from labctl.setup.resource import Change, ImpossibleError, Resource, packages_change
from labctl.transport.script import quote

# systemctl(1), is-enabled: these cannot be enabled or need not be.
_ENABLED = {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "transient"}

# systemd.unit(5), UNIT FILE LOAD PATH: those of the administrator.
_UNITS = "/etc/systemd/system/"


class Service(Resource):
    """A systemd unit is enabled and active (or neither), and is reloaded after some items change.

    Where systemd does not run (a container, a chroot) only ``enabled`` is looked at.
    """

    kind: ClassVar[str] = "service"

    name: str = Field(description="Unit; .service if it has no suffix")
    enabled: bool | None = True
    running: bool | None = True
    reload_after: tuple[str, ...] = Field(
        default=(), description="Ids of earlier items: reload the unit when they change"
    )
    restart_after: tuple[str, ...] = Field(
        default=(), description="Ids of earlier items: restart the unit when they change"
    )

    @field_validator("name")
    @classmethod
    def _with_suffix(cls, name: str) -> str:
        if not name or "/" in name or any(c.isspace() for c in name):
            raise ValueError("the name of a systemd unit, such as ssh.service")
        return name if "." in name else name + ".service"

    def facts(self) -> Iterable[Fact]:
        """The unit."""
        yield UnitFact(self.name)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare enabled and active, and see whether a configuration change waits."""
        fact = UnitFact(self.name)
        state = world.get(fact, UnitState)
        written = f"file {_UNITS}{self.name}" in changing
        if not state.exists and not written and not packages_change(changing):
            raise ImpossibleError(
                "there is no such unit", thing=self.name, action="is its package in the profile?"
            )
        words = []
        # What a package brings is enabled by it as a rule; a file that was just written is not.
        enabled = "enabled" if not state.exists else state.enabled
        if self.enabled is not None:
            if self.enabled and state.enabled not in _ENABLED:
                words.append("enable")
                enabled = "enabled"
            if not self.enabled and state.enabled in ("enabled", "enabled-runtime"):
                words.append("disable")
                enabled = "disabled"
        active = state.active
        if self.running is not None and (state.active or not state.exists):
            if self.running and state.active != "active":
                words.append("start")
                active = "active"
            if not self.running and state.active in ("active", "activating", "reloading"):
                words.append("stop")
                active = "inactive"
        words += self._refresh(state, changing, started="start" in words)
        if not words:
            return None
        return Change(
            ", ".join(words),
            f"{state.enabled}, {state.active or 'systemd does not run'}"
            if state.exists
            else "absent",
            f"{enabled}, {active or 'systemd does not run'}",
            effects={fact: UnitState(enabled, active)},
            parts=tuple(words),
        )

    def _refresh(
        self, state: UnitState, changing: Mapping[str, Change], *, started: bool
    ) -> list[str]:
        """Return the reload or restart that a change of configuration asks for."""
        if self.running is False or started:
            return []  # a unit that starts reads its configuration anyway
        if "restart" in state.pending or any(name in changing for name in self.restart_after):
            return ["restart"]
        if "reload" in state.pending or any(name in changing for name in self.reload_after):
            return ["reload"]
        return []

    @property
    def _watched(self) -> tuple[str, ...]:
        return (*self.reload_after, *self.restart_after)

    def apply(self, change: Change) -> str:
        """Do each part; forget what was pending when it is done."""
        unit = quote(self.name)
        lines = []
        if written := [name for name in map(_unit_file, self._watched) if name]:
            lines.append(_reread([self.name, *written]))
        for word in change.parts:
            if word in ("enable", "disable"):
                lines.append(f"systemctl {word} -- {unit} || exit 1")
            elif word == "reload":
                lines.append(
                    f"if running; then systemctl reload-or-restart -- {unit} || exit 1; fi"
                )
            else:
                lines.append(f"if running; then systemctl {word} -- {unit} || exit 1; fi")
        done = " ".join(
            quote(f"{PENDING_DIR}/{action} {self.name}") for action in ("reload", "restart")
        )
        return "\n".join(["running() { [ -d /run/systemd/system ]; }", *lines, f"rm -f -- {done}"])


def _unit_file(item: str) -> str:
    """Return the unit that the item ``item`` writes, or nothing."""
    name = item.removeprefix(f"file {_UNITS}")
    return name if name != item and "/" not in name else ""


def _reread(units: Iterable[str]) -> str:
    """Return shell that lets systemd read files of ``units`` that are newer than what it knows."""
    names = " ".join(quote(name) for name in dict.fromkeys(units))
    return (
        f"if running && systemctl show -p NeedDaemonReload -- {names} | grep -q =yes; then"
        " systemctl daemon-reload || exit 1; fi"
    )


def mark_pending(unit: str, action: str) -> str:
    """Return shell that notes that ``unit`` wants ``action`` (reload, restart)."""
    path = quote(f"{PENDING_DIR}/{action} {unit}")
    return f"mkdir -p -m 0700 -- {PENDING_DIR} && : >{path} || exit 1"
