"""``user``, ``login_shell`` and ``group``: an account, its shell, a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from labctl.setup.facts import Fact, World
from labctl.setup.facts.account import GroupFact, GroupState, UserFact, UserState
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.resource import AccountName, Change, ImpossibleError, Resource, packages_change
from labctl.transport.script import quote

# Of a new account, until something else is wanted; useradd's own default is /bin/sh.
_SHELL = "/bin/bash"

# The files that a new home directory may start with and that profiles edit.
_SKELETON = (".bashrc", ".profile", ".bash_logout", ".zshrc", ".tmux.conf")


class Group(Resource):
    """A group exists. It is never removed by labctl."""

    kind: ClassVar[str] = "group"

    name: AccountName
    system: bool = Field(default=False, description="Take the number from the system's range")

    def facts(self) -> Iterable[Fact]:
        """The group."""
        yield GroupFact(self.name)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """It is there or it is not."""
        fact = GroupFact(self.name)
        if world.get(fact, GroupState).exists:
            return None
        return Change("create", "absent", "present", effects={fact: GroupState(exists=True)})

    def apply(self, change: Change) -> str:
        """Create it."""
        return f"groupadd {'--system ' if self.system else ''}{self.name}"


class User(Resource):
    """An account exists and is in these groups (others that it is in stay).

    It is made without a password, so that only keys and sudo let it in. It is never removed.
    """

    kind: ClassVar[str] = "user"

    name: AccountName
    comment: str = Field(default="", pattern=r"^[^:\n]*$", description="Full name (GECOS)")
    groups: tuple[AccountName, ...] = Field(default=(), description="Further groups to be in")
    system: bool = False

    def facts(self) -> Iterable[Fact]:
        """The account, its groups, and what its home would start with."""
        yield UserFact(self.name)
        for group in self.groups:
            yield GroupFact(group)
        for name in _SKELETON:
            yield PathFact(f"/etc/skel/{name}", content=True)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare the account and its groups."""
        fact = UserFact(self.name)
        state = world.get(fact, UserState)
        effects: dict[Fact, object] = {}
        words = []
        if not state.exists:
            words.append("create")
            effects[fact] = UserState(True, home=f"/home/{self.name}", shell=_SHELL)
            effects |= self._new_home(world)
        missing = []
        for group in self.groups:
            known = world.get(GroupFact(group), GroupState)
            if not known.exists and not packages_change(changing):
                raise ImpossibleError(
                    f"there is no group {group}",
                    thing=f"user {self.name}",
                    action=f"put an item 'group: {group}' or its package before it",
                )
            if self.name not in known.members:
                missing.append(group)
                effects[GroupFact(group)] = replace(
                    known, exists=True, members=known.members | {self.name}
                )
        if missing:
            words.append("groups " + ", ".join(missing))
        if not words:
            return None
        after = ", ".join(["present", *(f"in {group}" for group in self.groups)])
        return Change(
            ", ".join(words), "present" if state.exists else "absent", after, effects=effects
        )

    def _new_home(self, world: World) -> dict[Fact, object]:
        """Return what useradd(8) makes: the home directory with the files of /etc/skel."""
        made: dict[Fact, object] = {
            PathFact(f"~{self.name}"): PathState("directory", 0o700, self.name, self.name)
        }
        for name in _SKELETON:
            state = world.get(PathFact(f"/etc/skel/{name}"), PathState)
            if state.type != "absent":
                state = replace(state, owner=self.name, group=self.name)
            made[PathFact(f"~{self.name}/{name}")] = state
        return made

    def apply(self, change: Change) -> str:
        """Create it if need be, then add it to its groups; each part may be done already."""
        option = "--system " if self.system else ""
        lines = [
            f"getent passwd {self.name} >/dev/null || useradd {option}--create-home --user-group "
            f"--comment {quote(self.comment)} --shell {_SHELL} {self.name} || exit 1"
        ]
        if self.groups:
            lines.append(f"usermod --append --groups {','.join(self.groups)} {self.name} || exit 1")
        return "\n".join(lines)


class LoginShell(Resource):
    """The login shell of an account that exists."""

    kind: ClassVar[str] = "login_shell"
    main: ClassVar[str] = "user"

    user: AccountName
    shell: str = Field(pattern=r"^/[^:\n]*$", description="Path of the shell")

    def facts(self) -> Iterable[Fact]:
        """The account, and the shell's program."""
        yield UserFact(self.user)
        yield PathFact(self.shell)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare the shell; a program that is missing may come with a package."""
        fact = UserFact(self.user)
        state = world.get(fact, UserState)
        if not state.exists:
            raise ImpossibleError("there is no such user", thing=f"user {self.user}")
        if state.shell == self.shell:
            return None
        program = world.get(PathFact(self.shell), PathState)
        if program.type == "absent" and not packages_change(changing):
            raise ImpossibleError(f"there is no {self.shell}", thing=f"user {self.user}")
        return Change(
            f"set to {self.shell}",
            state.shell,
            self.shell,
            effects={fact: replace(state, shell=self.shell)},
        )

    def apply(self, change: Change) -> str:
        """Change it, unless there is no such program: that would lock the user out."""
        shell = quote(self.shell)
        return f"[ -x {shell} ] && usermod --shell {shell} {self.user}"
