"""HTTP authentication: Basic (RFC 7617), and Digest with SHA-256 or MD5 (RFC 7616).

urllib's own has no SHA-256, which is all that newer plugs take.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import urllib.request
from collections.abc import Iterable

# The strongest first.
_HASHES = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}


def authorization(
    challenges: Iterable[str], method: str, target: str, user: str, password: str
) -> str | None:
    """Return the value of ``Authorization`` that answers ``challenges``, the strongest one.

    Args:
        challenges: Values of ``WWW-Authenticate``, one challenge each.
        method: Of the request.
        target: Its path and query.
        user: Login name.
        password: Its password.

    Returns:
        None where no challenge is of a kind that we know.
    """
    offered = {}
    for challenge in challenges:
        scheme, _, rest = challenge.partition(" ")
        known = urllib.request.parse_keqv_list(
            # The parser of the library cannot take a value of no characters.
            [one for one in urllib.request.parse_http_list(rest) if one.partition("=")[2]]
        )
        name = scheme.lower()
        offered[f"digest {known.get('algorithm', 'MD5')}" if name == "digest" else name] = known
    for algorithm in _HASHES:
        known = offered.get(f"digest {algorithm}", {})
        if "auth" in known.get("qop", "").replace(" ", "").split(",") and "nonce" in known:
            return _digest(known, algorithm, method, target, user, password)
    if "basic" in offered:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _digest(
    known: dict[str, str], algorithm: str, method: str, target: str, user: str, password: str
) -> str:
    def digest(*parts: str) -> str:
        return _HASHES[algorithm](":".join(parts).encode()).hexdigest()

    realm, nonce = known.get("realm", ""), known["nonce"]
    count, own = "00000001", secrets.token_hex(16)
    response = digest(
        digest(user, realm, password), nonce, count, own, "auth", digest(method, target)
    )
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target, "cnonce": own,
              "response": response}  # fmt: skip
    if "opaque" in known:
        fields["opaque"] = known["opaque"]
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f"Digest {quoted}, algorithm={algorithm}, qop=auth, nc={count}"
