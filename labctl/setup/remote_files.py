"""Shell that changes files on a machine so that nobody ever sees half of one."""

from __future__ import annotations

import base64
import textwrap

from labctl.setup.facts.path import digest, shell_path
from labctl.transport.script import quote

# Exit status of shell that found something else than its plan was made for: EX_TEMPFAIL of
# sysexits.h(3head). The engine then looks and plans again.
LOOK_AGAIN = 75


def replace_file(
    path: str,
    content: bytes,
    *,
    before: bytes | None,
    mode: int,
    owner: str,
    group: str,
    validate: str = "",
) -> str:
    """Return shell that replaces the file ``path`` by ``content`` in one step.

    Args:
        path: The file; absolute or ``~user/...``.
        content: New bytes.
        before: What the plan saw there (None: no file). If somebody changed the file since, the
            shell stops with `LOOK_AGAIN` and a message instead of losing that.
        mode: Permission bits.
        owner: User name; empty for root.
        group: Group name; empty for the owner's own group.
        validate: Command that must accept the new file before it takes its place; ``%s`` stands
            for its name.
    """
    # The new file is made in a folder that only root may enter, beside the old one: in a folder
    # of a user, that user could otherwise put a link in its place between two of these commands,
    # and have us change owner and mode of what it points to. The name is the same on each run, so
    # what a killed run left is removed by the next.
    lines = ["(", f"f={shell_path(path)}", 't="${f%/*}/.${f##*/}.labctl"', 'rm -rf -- "$t"']
    lines.append('mkdir -m 0700 -- "$t" && cd -P -- "$t" && [ -O . ] || exit 1')
    lines.append('case "$(stat -c %a .)" in (*700) ;; (*) exit 1 ;; esac')
    lines.append("trap 'cd / && rm -rf -- \"$t\"' EXIT")
    lines.append("base64 -d >new <<'LABCTL_END' || exit 1")
    lines += textwrap.wrap(base64.b64encode(content).decode(), 76) or [""]
    lines.append("LABCTL_END")
    lines.append(f"chown -- {quote((owner or 'root') + ':' + group)} new || exit 1")
    lines.append(f"chmod {mode:04o} new || exit 1")
    if validate:
        # In a shell of its own, so that a mistake in it is the item's and not the script's.
        command = validate.replace("%s", '"$1"')
        lines.append(f'sh -c {quote(command)} sh "$t/new" || exit 1')
    lines.append("sync -- new 2>/dev/null")
    lines += _unchanged(before)
    lines += ['mv -fT -- new "$f" || exit 1', ") || exit $?"]
    return "\n".join(lines)


def _unchanged(before: bytes | None) -> list[str]:
    complain = (
        f"echo 'it was changed since it was looked at; run labctl again' >&2; exit {LOOK_AGAIN}"
    )
    if before is None:
        return [f'[ ! -e "$f" ] && [ ! -L "$f" ] || {{ {complain}; }}']
    return [
        f'[ "$(sha256sum <"$f" | cut -c1-64)" = {digest(before)} ] || {{ {complain}; }}',
    ]


def set_owner_and_mode(path: str, *, mode: int | None, owner: str, group: str) -> str:
    """Return shell that sets owner, group and permission bits of ``path`` as far as given."""
    lines = [f"f={shell_path(path)}"]
    if owner or group:
        lines.append(f'chown -h -- {quote(owner + (":" + group if group else ""))} "$f" || exit 1')
    if mode is not None:
        lines.append(f'chmod {mode:04o} -- "$f" || exit 1')
    return "\n".join(lines)
