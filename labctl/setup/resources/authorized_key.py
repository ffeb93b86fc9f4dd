"""``authorized_key``: a public key lets its owner in."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import field_validator

from labctl.setup.content import current_text, planned_edit
from labctl.setup.facts import Fact, World
from labctl.setup.facts.account import UserFact, UserState
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.resource import AccountName, Change, ImpossibleError, Resource
from labctl.setup.resources.line import replace_edited
from labctl.transport.script import quote


class AuthorizedKey(Resource):
    """The public key ``key`` is in ``~user/.ssh/authorized_keys``; sshd(8), AUTHORIZED_KEYS.

    A key that is there with options or another comment counts, and stays as it is.
    """

    kind: ClassVar[str] = "authorized_key"
    main: ClassVar[str] = "key"

    user: AccountName
    key: str

    @field_validator("key")
    @classmethod
    def _public(cls, key: str) -> str:
        words = key.split()
        if "PRIVATE KEY" in key:
            raise ValueError("this is a private key; give the public one (the .pub file)")
        if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-", "sk-")):
            raise ValueError("a public key is 'type base64 [comment]' on one line")
        if "\n" in key.strip():
            raise ValueError("one key, on one line")
        # RFC 4253, 6.6: the encoded key starts with the length and the name of its type.
        name = words[0].encode()
        try:
            blob = base64.b64decode(words[1], validate=True)
        except ValueError:
            blob = b""
        if not blob.startswith(len(name).to_bytes(4, "big") + name):
            raise ValueError(f"what follows {words[0]} is not such a key; is it whole?")
        return " ".join(words)

    @property
    def id(self) -> str:
        """Kind, user, and what tells this key from others."""
        words = self.key.split()
        # Two keys may have one comment, so a part of the key stands beside it.
        label = " ".join(words[2:]) or words[0]
        return f"authorized_key {self.user}: {label} ...{words[1][-12:]}"

    @property
    def _file(self) -> str:
        return f"~{self.user}/.ssh/authorized_keys"

    def facts(self) -> Iterable[Fact]:
        """The account, its .ssh folder and its keys."""
        yield UserFact(self.user)
        yield PathFact(f"~{self.user}/.ssh")
        yield PathFact(self._file, content=True)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Look for the key's base64 part."""
        if not world.get(UserFact(self.user), UserState).exists:
            raise ImpossibleError("there is no such user", thing=f"user {self.user}")
        folder = world.get(PathFact(f"~{self.user}/.ssh"), PathState)
        if folder.type not in ("absent", "directory"):
            # Through a link the user could have us write into somebody else's folder.
            raise ImpossibleError(
                f"is a {folder.type}, not a directory",
                thing=f"~{self.user}/.ssh",
                action="make it a directory of this user",
            )
        state = world.get(PathFact(self._file), PathState)
        old = current_text(self._file, state)
        blob = self.key.split()[1].encode()
        lines = (line.split() for line in old.split(b"\n"))
        if any(blob in words for words in lines if words and words[0][:1] != b"#"):
            return None
        gap = b"\n" if old and not old.endswith(b"\n") else b""
        new = old + gap + self.key.encode() + b"\n"
        if state.type == "absent":
            change = planned_edit(self._file, state, new, mode=0o600, owner=self.user, group="")
        else:
            change = planned_edit(self._file, state, new, mode=None, owner="", group="")
        return change

    def apply(self, change: Change) -> str:
        """Make ``~/.ssh`` if need be, then replace the file."""
        user = quote(self.user + ":")
        return (
            f"d=~{self.user}/.ssh\n"
            'if [ ! -d "$d" ]; then\n'
            f'mkdir -m 0700 -- "$d" && chown -- {user} "$d" || exit 1\nfi\n'
            + replace_edited(self._file, change)
        )
