"""A real PostgreSQL server for tests: a temporary cluster that one test run has for itself."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PATIENCE_S = 120
PASSWORD = "it's a secret: @/?"


def programs() -> Path | None:
    """Return Debian's folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    return found[-1].parent if found else None


def missing() -> str:
    """Return why there can be no server, or nothing."""
    if programs() is None:
        return "no PostgreSQL server: apt-get install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "no psycopg: pip install 'labctl-suite[postgres]'"
    if os.geteuid() == 0 and not Path(os.devnull).stat().st_mode & 0o002:
        return f"only root can write {os.devnull} here, and PostgreSQL does not run as root"
    return ""


class Server:
    """A cluster in ``folder``: the socket there is trusted, the loopback port wants a password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._made = False
        found = programs()
        assert found is not None
        self.programs = found
        # PostgreSQL refuses to run as root.
        self.who: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self.who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(folder, entry.pw_uid, entry.pw_gid)

    def _run(self, name: str, *words: str) -> None:
        done = subprocess.run(
            [self.programs / name, *words],
            capture_output=True, timeout=_PATIENCE_S, check=False, cwd="/", **self.who,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()

    def make(self) -> None:
        """Make the cluster."""
        self._run(
            "initdb", "--pgdata", f"{self.folder}/data", "--no-sync", "--username", "postgres",
            "--auth-local", "trust", "--auth-host", "scram-sha-256", "--encoding", "UTF8",
            "--locale", "C",
        )  # fmt: skip

    def start(self) -> None:
        """Start it, on the port that it had, and wait until it answers."""
        assert self.process is None
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            if not self.port:
                with socket.socket() as chosen:
                    chosen.bind(("127.0.0.1", 0))
                    self.port = chosen.getsockname()[1]
            settings = {
                "listen_addresses": "127.0.0.1", "port": self.port, "max_connections": 20,
                "unix_socket_directories": self.folder, "fsync": "off", "shared_buffers": "16MB",
                "autovacuum": "off", "log_destination": "stderr",
            }  # fmt: skip
            words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            with Path(self.folder, "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [self.programs / "postgres", "-D", f"{self.folder}/data", *words],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **self.who,
                )  # fmt: skip
            if self._answers(deadline):
                return
            # Somebody else took the port in between: another one.
            self.process, self.port = None, 0
            assert time.monotonic() < deadline, Path(self.folder, "log").read_text()

    def _answers(self, deadline: float) -> bool:
        import psycopg

        assert self.process is not None
        while self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres")).close()
                return True
            assert time.monotonic() < deadline, Path(self.folder, "log").read_text()
            time.sleep(0.02)
        return False

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT at once and without order, as a crash would."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(_PATIENCE_S)
            self.process = None

    def url(self, database: str, *, user: str = "postgres") -> str:
        """Return the URL of a database, over the socket."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def remote(self, database: str, *, user: str = "postgres") -> str:
        """Return the URL of a database, over the loopback port, where a password is wanted."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Do one statement beside labctl."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def fresh(self) -> str:
        """Return the name of a database in which labctl has nothing; it is the same each time."""
        if not self._made:
            self.execute("CREATE DATABASE lab")  # takes a second: once is enough
            self._made = True
        for (name,) in self.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'labctl%'", "lab"
        ):
            self.execute(f"DROP SCHEMA {name} CASCADE", "lab")
        return "lab"


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Run a server while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="labctl-pg-"))
    try:
        server = Server(folder)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
