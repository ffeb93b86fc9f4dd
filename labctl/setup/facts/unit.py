"""systemd units, whether systemd runs (a machine) or not (a container, a chroot)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from labctl.setup.facts.base import Fact
from labctl.transport.script import quote

# Left by a change that wants a unit reloaded or restarted, removed when that has happened, so that
# a run that is killed in between does not forget it.
PENDING_DIR = "/var/lib/labctl/pending"


@dataclass(frozen=True)
class UnitState:
    """State of a unit; source: systemctl(1), ``show`` and ``is-enabled``.

    Attributes:
        enabled: ``enabled``, ``disabled``, ``static``, ``masked``, ... or empty if there is no
            such unit.
        active: ``active``, ``inactive``, ``failed``, ...; empty where systemd does not run.
        pending: Actions (reload, restart) that an earlier change asked for.
    """

    enabled: str = ""
    active: str = ""
    pending: frozenset[str] = frozenset()

    @property
    def exists(self) -> bool:
        """Whether there is such a unit."""
        return bool(self.enabled)


@dataclass(frozen=True)
class UnitFact(Fact):
    """The systemd unit ``name``, with its suffix (``ssh.service``)."""

    kind: ClassVar[str] = "unit"
    name: str

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """One ``systemctl`` for all units."""
        names = " ".join(quote(fact.name) for fact in facts)
        return f"""\
if [ -d /run/systemd/system ]; then
  set -- {names}
  printf 'U %s\\n' "$@"
  systemctl show -p UnitFileState -p ActiveState -p LoadState -- "$@" 2>/dev/null
else
  for u in {names}; do
    printf 'E %s %s\\n' "$u" "$(systemctl is-enabled -- "$u" 2>/dev/null)"
  done
fi
for f in {PENDING_DIR}/*; do [ -e "$f" ] && printf 'P %s\\n' "${{f##*/}}"; done
true"""

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, UnitState]:
        """Return the state of each unit."""
        asked: list[str] = []
        blocks: list[dict[str, str]] = [{}]
        enabled: dict[str, str] = {}
        pending: dict[str, set[str]] = {}
        for line in output.splitlines():
            if line.startswith("U "):
                asked.append(line[2:])
            elif line.startswith("E "):
                name, _, answer = line[2:].partition(" ")
                enabled[name] = answer
            elif line.startswith("P "):
                action, _, name = line[2:].partition(" ")
                pending.setdefault(name, set()).add(action)
            elif "=" in line:
                key, _, value = line.partition("=")
                blocks[-1][key] = value
            elif not line and blocks[-1]:
                blocks.append({})
        states: dict[str, UnitState] = {}
        # systemctl show prints a block for each name, in the order of the names.
        for name, block in zip(asked, blocks, strict=False):
            if block.get("LoadState") not in (None, "not-found"):
                # A unit made by a generator has no file, hence no state of it; it does exist.
                enabled[name] = block.get("UnitFileState") or "transient"
                states[name] = UnitState(enabled[name], block.get("ActiveState", ""))
        result = {}
        for fact in facts:
            state = states.get(fact.name, UnitState(enabled.get(fact.name, "")))
            waiting = frozenset(pending.get(fact.name, ()))
            result[fact] = UnitState(state.enabled, state.active, waiting)
        return result
