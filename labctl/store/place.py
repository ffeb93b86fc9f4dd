"""Where a database is: a path, or the URL of a PostgreSQL server.

A URL never holds a password: it would stand in lists of processes, histories of shells and logs.
libpq finds one by itself, in ``~/.pgpass``, ``$PGPASSFILE`` or the service that ``$PGSERVICE``
names (PostgreSQL 15 manual, 34.16 "The Password File", 34.17 "The Connection Service File").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError

_SCHEMES = ("postgresql", "postgres")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# A connection URI and the keys in it whose values are secret (PostgreSQL 15 manual, 34.1.2).
_URL = (
    r"(?i:postgres|postgresql)://"
    r"(?:(?P<user>[^:@/?#\[\]]*)(?::(?P<password>[^@/?#\[\]]*))?@)?"
    r"(?P<hosts>(?:(?:\[[0-9A-Fa-f:.%]+\]|[^:@/?#,\[\]]*)(?::\d*)?(?:,|(?=[/?]|$)))*)"
    r"(?:/(?P<database>[^:@/?#\[\]]*))?"
    r"(?:\?(?P<settings>(?:[a-z_]+=[^@&=#]*(?:&|$))*))?"
)
_SECRET = {"password", "sslpassword"}


@dataclass(frozen=True)
class Place:
    """A database that may or may not exist yet.

    Attributes:
        path: The file, or None where it is a server.
        url: ``postgresql://...``, never with a password; empty where it is a file.
    """

    path: Path | None = None
    url: str = ""

    @classmethod
    def of(cls, named: str | Path) -> Place:
        """Return the place that a path or a URL names.

        Raises:
            UsageError: It is a URL of another kind, is no URL after all, or holds a password.
        """
        if isinstance(named, Path):
            return cls(path=named)
        scheme = _SCHEME.match(named)
        if scheme is None:
            return cls(path=Path(named).expanduser())
        if scheme.group(1).lower() not in _SCHEMES:
            raise UsageError(
                "no such kind of database",
                thing=f"{scheme.group(1)}://...",
                action="name a file, or a server as postgresql://USER@HOST/DATABASE",
            )
        _refuse_password(named)
        return cls(url=named)

    def __str__(self) -> str:
        """Return it as people named it."""
        return self.url or str(self.path)


def _refuse_password(url: str) -> None:
    """Raise if ``url`` holds a password, or could; what is raised does not show it."""
    # A password with a slash or a question mark in it makes what follows look like a database or a
    # setting. So the form is kept strictly, and of what does not fit nothing is shown.
    found = re.fullmatch(_URL, url)
    settings = (found["settings"] or "").split("&") if found else []
    keys = {setting.partition("=")[0] for setting in settings}
    if found and not found["password"] and not keys & _SECRET:
        return
    from urllib.parse import unquote  # noqa: PLC0415 - slow to import

    rest = url.partition("://")[2]
    if found or "@" in rest or "password" in unquote(rest).lower():
        user, host = (found["user"] or "", found["hosts"]) if found else ("", "")
        raise UsageError(
            "a URL must not hold a password",
            thing=f"postgresql://{user}{'@' if user else ''}{host}{'/' if host else ''}...",
            action="leave it out and put it into ~/.pgpass (HOST:PORT:DATABASE:USER:PASSWORD, mode "
            "0600); change it if others could see it",
        )
    raise UsageError(
        "no URL of a database",
        thing="postgresql://...",
        action="write postgresql://USER@HOST:PORT/DATABASE",
    )
