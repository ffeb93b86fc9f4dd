"""Plugs that are switched over HTTP: a request, with a deadline over all of it, and a JSON answer.

http.client and no more: redirects and proxies have no business between us and a plug of the lab.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Mapping

from labctl.boards.power.httpauth import authorization
from labctl.errors import LabctlError, UnreachableError
from labctl.report.sanitize import clean_line

_LARGEST = 64 << 10


def ask(
    host: str,
    path: str,
    query: Mapping[str, str],
    *,
    deadline_s: float,
    login: tuple[str, str] | None = None,
) -> dict[str, object]:
    """Return the JSON object that ``http://host/path?query`` answers.

    Args:
        host: Host, with a port if need be.
        path: Path of the request.
        query: Its query.
        deadline_s: How long it may take in all, seconds.
        login: User and password, for a host that asks for them.

    Raises:
        UnreachableError: It does not answer in time.
        LabctlError: It answers something else, or does not let us in.
    """
    target = f"{path}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"
    end = time.monotonic() + deadline_s
    status, reason, challenges, body = _request(host, target, {}, end)
    if status == http.client.UNAUTHORIZED and login is not None:
        answer = authorization(challenges, "GET", target, *login)
        if answer is not None:
            headers = {"Authorization": answer}
            status, reason, challenges, body = _request(host, target, headers, end)
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        wanted = "correct the file that 'password_file' names" if login else _WANTS_PASSWORD
        raise LabctlError(f"{host} does not let us in ({status})", action=wanted)
    if status != http.client.OK:
        raise LabctlError(
            f"{host} answered {status} {clean_line(reason)}: {clean_line(body, limit=120)}",
            action="check that it is of this kind, and the number of its switch",
        )
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise LabctlError(
            f"{host} answered no JSON object: {clean_line(body, limit=120)}",
            action="check that it is of this kind",
        )
    return data


_WANTS_PASSWORD = "write its password into a file and name that in 'password_file'"  # noqa: S105


def _request(
    host: str, target: str, headers: Mapping[str, str], end: float
) -> tuple[int, str, list[str], bytes]:
    """Return status, reason, challenges and body of the answer.

    Args:
        host: Host, with a port if need be.
        target: Path and query.
        headers: What to add to the request.
        end: Deadline, by the monotonic clock.
    """
    left = max(0.001, end - time.monotonic())
    connection: http.client.HTTPConnection | None = None
    watchdog: threading.Timer | None = None
    try:
        connection = http.client.HTTPConnection(host, timeout=left)
        connection.connect()
        # A time-out of the socket begins anew with each byte; a slow plug would never end.
        watchdog = threading.Timer(max(0.001, end - time.monotonic()), _cut, [connection.sock])
        watchdog.daemon = True
        watchdog.start()
        connection.request("GET", target, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(_LARGEST)
        challenges = answer.headers.get_all("WWW-Authenticate") or []
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{host} does not answer: {_cause(error, end)}",
            action="check its address and that it has power",
        ) from error
    finally:
        if watchdog is not None:
            watchdog.cancel()
        if connection is not None:
            connection.close()
    if time.monotonic() >= end:
        raise UnreachableError(f"{host} does not answer in time", action="check its network")
    return answer.status, answer.reason, challenges, body


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _cause(error: Exception, end: float) -> str:
    if isinstance(error, TimeoutError) or time.monotonic() >= end:
        return "nothing in time"
    return clean_line(str(error)) or "it closed the connection"
