"""``package``: a Debian package is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from pydantic import Field, field_validator

from labctl.setup.facts import Fact, World
from labctl.setup.facts.package import PackageFact, PackageState
from labctl.setup.resource import Change, Resource
from labctl.transport.script import quote

# Debian Policy 5.6.1: at least two characters, lower case letters, digits, + - and .
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")

# Seconds to wait for another apt or dpkg, such as the daily timers of a machine just booted.
_LOCK_WAIT_S = 300


class Package(Resource):
    """A Debian package is installed (``state: present``) or not (``state: absent``)."""

    kind: ClassVar[str] = "package"
    batch: ClassVar[bool] = True

    name: str = Field(description="Name of the package")
    state: str = Field(default="present", pattern="^(present|absent)$")
    recommends: bool = Field(default=False, description="Also install what it recommends")

    @field_validator("name")
    @classmethod
    def _policy(cls, name: str) -> str:
        if not _NAME.match(name):
            raise ValueError("not a package name (Debian Policy 5.6.1)")
        return name

    def facts(self) -> Iterable[Fact]:
        """The state of this package."""
        yield PackageFact(self.name)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare the installed state with the wanted one."""
        fact = PackageFact(self.name)
        state = world.get(fact, PackageState)
        wanted = self.state == "present"
        if state.installed == wanted and not state.broken:
            return None
        before = "half installed" if state.broken else (state.version or "not installed")
        return Change(
            summary="install" if wanted else "remove",
            before=before,
            after="installed" if wanted else "not installed",
            effects={fact: PackageState(version="any" if wanted else None)},
        )

    def apply(self, change: Change) -> str:
        """Install or remove this one package."""
        return self.apply_batch([(self, change)])

    @classmethod
    def apply_batch(cls, items: Sequence[tuple[Resource, Change]]) -> str:
        """One apt transaction for all of ``items``."""
        packages = [item for item, _ in items if isinstance(item, Package)]
        words = [item.name + ("+" if item.state == "present" else "-") for item in packages]
        option = "true" if any(item.recommends for item in packages) else "false"
        return _INSTALL.format(
            words=" ".join(map(quote, words)), wait=_LOCK_WAIT_S, recommends=option
        )


# Lists older than a day, or older than the files that name the sources, are fetched anew first;
# and once more if apt could not install, because the archive may have moved on since. The age is
# that of our stamp or of the folder: the files in it carry the date that the server gave them.
# dpkg --configure -a finishes what a killed run left half done; it does nothing otherwise.
_INSTALL = """\
apt() {{
  apt-get -q -y -o DPkg::Lock::Timeout={wait} -o APT::Status-Fd=1 \\
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \\
    -o Dpkg::Use-Pty=0 -o APT::Install-Recommends={recommends} "$@"
}}
lists=/var/lib/apt/lists stamp=/var/lib/apt/periodic/labctl-update-stamp
refresh() {{
  apt update -o APT::Update::Error-Mode=any && mkdir -p "${{stamp%/*}}" && : >"$stamp"
}}
dpkg --configure -a || exit 1
seen=$lists
[ -e "$stamp" ] && [ "$stamp" -nt "$lists" ] && seen=$stamp
set -- "$lists"/*Packages*
if [ ! -e "$1" ] || [ -z "$(find "$seen" -maxdepth 0 -mmin -1440)" ] ||
  [ -n "$(find /etc/apt/sources.list /etc/apt/sources.list.d -newer "$seen" 2>/dev/null)" ]
then refresh || exit 1; fi
apt install {words} && exit 0
refresh || exit 1
apt install {words}"""
