"""``locale``: the machine's language and character set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from labctl.setup.facts import Fact, World
from labctl.setup.facts.system import SystemFact, SystemState
from labctl.setup.resource import Change, Resource

# Built into the C library of Debian 12 (libc-bin); all others need the package locales.
BUILT_IN = frozenset({"c", "posix", "c.utf8"})


class Locale(Resource):
    """``LANG`` of all sessions; locale(7), Debian's /etc/default/locale and locale-gen(8)."""

    kind: ClassVar[str] = "locale"

    name: str = Field(pattern=r"^[A-Za-z]+(_[A-Z]+)?(\.[A-Za-z0-9-]+)?(@[a-z]+)?$")

    @property
    def _generated(self) -> str:
        """The name as ``locale -a`` spells it, in lower case."""
        # setlocale(3) of glibc compares character sets by their letters and digits only.
        name, dot, rest = self.name.lower().partition(".")
        charset, at, modifier = rest.partition("@")
        return name + dot + charset.replace("-", "") + at + modifier

    def facts(self) -> Iterable[Fact]:
        """The present LANG, and which locales there are."""
        yield SystemFact()

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare LANG; see whether the locale has been generated."""
        system = world.get(SystemFact(), SystemState)
        words, parts = [], []
        if self._generated not in system.locales and self._generated not in BUILT_IN:
            words.append(f"generate {self.name}")
            parts.append("generate")
        if system.lang != self.name:
            words.append(f"LANG={self.name}")
        if not words:
            return None
        wanted = replace(system, lang=self.name, locales=system.locales | {self._generated})
        return Change(
            ", ".join(words),
            system.lang or "not set",
            self.name,
            effects={SystemFact(): wanted},
            parts=tuple(parts),
        )

    def apply(self, change: Change) -> str:
        """Generate the locale where it is missing; set LANG and leave other variables alone."""
        charset = self.name.partition(".")[2].partition("@")[0] or "ISO-8859-1"
        lines = []
        if "generate" in change.parts:
            lines.append(
                "command -v locale-gen >/dev/null || "
                "{ echo 'the package locales is not installed'; exit 1; }\n"
                f"grep -qsx '{self.name} {charset}' /etc/locale.gen || "
                f"echo '{self.name} {charset}' >>/etc/locale.gen || exit 1\n"
                "locale-gen || exit 1"
            )
        lines.append(
            "f=/etc/default/locale t=/etc/default/.locale.labctl\n"
            f"{{ echo LANG={self.name}; [ ! -e $f ] || grep -v '^LANG=' $f; }} >$t\n"
            "chmod 644 $t && mv -fT $t $f"
        )
        return "\n".join(lines)
