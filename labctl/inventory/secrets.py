"""Nothing secret belongs into an inventory: finds passwords and private keys in it.

An inventory is copied, shared and committed. labctl asks for a password when it needs one, and
private keys stay in files or in the agent. The mistakes found here never quote the value.
"""

from __future__ import annotations

import re

from labctl.inventory.diagnostics import Diagnostic, quote
from labctl.inventory.yamlnodes import Mapping, Node, Scalar, Sequence

# The last word of a key that holds a secret: "sudo_pass" and "db-password" do, "password_login",
# "token_file" and "password_hash" do not.
_LAST_WORDS = {"password", "passwords", "passwd", "pass", "pwd", "passphrase", "passphrases"}
_LAST_WORDS |= {"secret", "secrets", "token", "tokens", "credential", "credentials"}
_LAST_WORDS |= {"apikey", "privatekey", "sudopass", "sudopassword", "becomepass"}
_ENDINGS = (("api", "key"), ("private", "key"), ("secret", "key"), ("access", "key"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# PEM (RFC 7468) and OpenSSH private keys, PuTTY's .ppk.
_PRIVATE_KEY = re.compile(r"BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY|PuTTY-User-Key-File")
_URL_PASSWORD = re.compile(r"[a-z0-9+.-]{1,20}://[^/\s:@]{1,200}:[^/\s@]{1,200}@", re.IGNORECASE)


def is_secret_key(key: str) -> bool:
    """Tell whether the value of ``key`` is a secret by its name."""
    words = [word.lower() for word in _WORD.findall(key[-100:])]
    return bool(words) and (words[-1] in _LAST_WORDS or tuple(words[-2:]) in _ENDINGS)


def remove_secrets(root: Node) -> list[Diagnostic]:
    """Take secrets out of the tree, so that nothing later quotes one, and return the mistakes."""
    found: list[Diagnostic] = []
    seen: set[int] = set()
    rest: list[Node] = [root]
    while rest:
        node = rest.pop()
        if id(node) in seen:  # reached through several aliases
            continue
        seen.add(id(node))
        if isinstance(node, Mapping):
            for name, (key, value) in list(node.entries.items()):
                if is_secret_key(key.text) and _says_something(value):
                    found.append(_refuse_key(key))
                    del node.entries[name]
                elif _check_text(key, found):
                    del node.entries[name]
                else:
                    rest.append(value)
        elif isinstance(node, Sequence):
            rest.extend(node.items)
        elif isinstance(node, Scalar):
            _check_text(node, found)
    return found


def _says_something(value: Node) -> bool:
    # "password: false" or an empty value is a setting or nothing, not a secret.
    return not isinstance(value, Scalar) or not isinstance(value.value(), bool | None)


def _refuse_key(key: Scalar) -> Diagnostic:
    return Diagnostic(
        key.line,
        key.column,
        f"{quote(key.text)} holds a secret, which does not belong into an inventory; remove it: "
        "labctl asks for passwords, keys stay in files (identity_files) or in the agent",
    )


def _check_text(node: Scalar, found: list[Diagnostic]) -> bool:
    if _PRIVATE_KEY.search(node.text):
        what = "a private key; remove it and name its file in 'identity_files', or use the agent"
    elif _URL_PASSWORD.search(node.text):
        what = "a URL with a password in it; write the URL without the password"
    else:
        return False
    found.append(Diagnostic(node.line, node.column, what))
    node.text, node.plain = "removed", False
    return True
