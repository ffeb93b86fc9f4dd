"""The kinds of values in an inventory, each with the message that says what to write."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from labctl.inventory.diagnostics import quote

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
NAME_HINT = "use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 63"
_USER_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,63}\$?$"
_HOSTNAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_JUMP = re.compile(
    r"(?:ssh://)?(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*@)?(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_][\w.-]*)(?::(\d{1,5}))?"
)
# Names of public key algorithms: RFC 4253, RFC 5656, RFC 8709, and OpenSSH's PROTOCOL.u2f.
KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def refuse(message: str) -> PydanticCustomError:
    """Return the error that a validator raises; ``message`` reaches the person as it is."""
    # Braces would be taken for the fields of a template.
    return PydanticCustomError("inventory", "{message}", {"message": message})


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN[1:-1], value):
        raise refuse(f"{quote(value)} is not a valid name; {NAME_HINT}")
    return value


def _user(value: str) -> str:
    if not re.fullmatch(_USER_PATTERN[1:-1], value):
        raise refuse(f"{quote(value)} is not a login name; write one such as 'root'")
    return value


def _address(value: str) -> str:
    if "@" in value or "/" in value:
        # Not quoted: what stands before an @ may be a password.
        raise refuse("only a host name or address belongs here; write the login name in 'user'")
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if ":" in value:
            raise refuse(f"{quote(value)} is not an address; write the port in 'port'") from None
        if not _HOSTNAME.fullmatch(value):
            raise refuse(
                f"{quote(value)} is not a host name or address; write one such as 192.0.2.10"
            ) from None
    if bare != value:
        raise refuse(f"{quote(value)} is an address in brackets; write it without them")
    return value


def _proxy_jump(value: str) -> str:
    hint = "write '[user@]host[:port]', several separated by ',', or 'none'"
    if value.lower() == "none":
        return "none"
    for hop in value.split(","):
        match = _JUMP.fullmatch(hop.strip())
        if not match:
            raise refuse(f"{quote(value)} is not a jump host; {hint}")
        if match.group(1) and not 1 <= int(match.group(1)) <= 65535:
            raise refuse(f"{match.group(1)} is not a port; write one from 1 to 65535")
    return ",".join(hop.strip() for hop in value.split(","))


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise refuse(f"{value} is not a port; write one from 1 to 65535")
    return value


def _host_key(value: str) -> str:
    """Return ``type base64`` without the comment; the type is repeated inside the base64."""
    words = value.split()
    hint = "write the line of 'ssh-keyscan HOST' without the host name, such as 'ssh-ed25519 AAAA…'"
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise refuse(f"{quote(value)} is not a public host key; {hint}")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise refuse(f"the host key {quote(value)} is not valid base64; {hint}") from None
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != words[0].encode() or len(blob) < length + 36:
        raise refuse(f"the host key {quote(value)} is cut off or of another type; {hint}")
    return f"{words[0]} {words[1]}"


def _path(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise refuse("this is not a path; write the path of a file or folder")
    return value


# In a schema for editors a pattern shows mistakes while typing; here the validator says them.
Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": NAME_PATTERN})]
User = Annotated[str, AfterValidator(_user), Field(json_schema_extra={"pattern": _USER_PATTERN})]
Address = Annotated[str, AfterValidator(_address)]
ProxyJump = Annotated[str, AfterValidator(_proxy_jump)]
Port = Annotated[
    int, AfterValidator(_port), Field(json_schema_extra={"minimum": 1, "maximum": 65535})
]
HostKey = Annotated[str, AfterValidator(_host_key)]
FilePath = Annotated[str, AfterValidator(_path)]
