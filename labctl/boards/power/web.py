"""Plugs that are switched over HTTP: one request, with a deadline, and a JSON answer."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

from labctl.errors import LabctlError, UnreachableError
from labctl.report.sanitize import clean_line

_LARGEST = 64 << 10


def ask(host: str, path: str, query: dict[str, str], *, deadline_s: float) -> dict[str, object]:
    """Return the JSON object that ``http://host/path?query`` answers.

    Raises:
        UnreachableError: It does not answer within ``deadline_s`` seconds.
        LabctlError: It answers something else.
    """
    url = f"http://{host}{path}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"
    # A proxy has no business between us and a plug of the lab.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=deadline_s) as answer:
            data = json.loads(answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        raise LabctlError(f"{host} answered {error.code} {clean_line(error.reason)}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UnreachableError(
            f"{host} does not answer: {clean_line(str(reason)) or 'no reason given'}",
            action="check its address and that it has power",
        ) from error
    except ValueError as error:
        raise LabctlError(f"{host} answered no JSON", action="is it the right kind?") from error
    if not isinstance(data, dict):
        raise LabctlError(f"{host} answered no JSON object", action="is it the right kind?")
    return data
