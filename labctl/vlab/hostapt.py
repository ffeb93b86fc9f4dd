"""What the host's apt says: Debian's own sources, proxies, and the host's extra certificates.

Sources: sources.list(5) (one-line and deb822 style), apt-transport-http(1) (proxies).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
_OWN_SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
_OWN_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
_DEFAULT = (
    f"deb http://deb.debian.org/debian {SUITE} main",
    f"deb http://deb.debian.org/debian {SUITE}-updates main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
)
_LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_PROXY_LINE = re.compile(
    r'^(Acquire::(?:http|https|ftp)::Proxy(?:::[^ ]+)?) "(.*)";$', re.IGNORECASE
)
# From inside QEMU's user network the host's loopback is the gateway (QEMU manual, -netdev user).
_LOOPBACK = re.compile(r"//(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=[:/]|$)")
QEMU_HOST = "10.0.2.2"


@dataclass(frozen=True)
class Source:
    """One binary package source: an archive, one suite of it, and components."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def line(self) -> str:
        """Return it in the one-line style, without the key (the box trusts Debian's keys)."""
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


def debian_sources(folder: Path = Path("/etc/apt")) -> list[str]:
    """Return the host's sources of Debian 12 itself, or deb.debian.org where it has none.

    Third-party archives are left out: the box starts as a new Debian, and only Debian's keys are
    trusted in it. A source is Debian's own when suite and components are Debian's and it is not
    signed by a key other than that of debian-archive-keyring.

    Args:
        folder: The host's apt configuration.
    """
    found: dict[str, Source] = {}
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            entries = parse_deb822(text)
        elif path.suffix == ".list":
            entries = parse_lines(text)
        else:
            continue
        for source in entries:
            if own := _debian_part(source):
                found.setdefault(own.line(), own)
    # Without the main suite the others are of no use.
    if not any(source.suite == SUITE for source in found.values()):
        return list(_DEFAULT)
    return list(found)


def _debian_part(source: Source) -> Source | None:
    components = tuple(part for part in source.components if part in _OWN_COMPONENTS)
    foreign_key = source.signed_by and "debian-archive" not in source.signed_by
    if source.suite not in _OWN_SUITES or "main" not in components or foreign_key:
        return None
    if not source.uri.startswith(("http://", "https://")):
        return None  # cdrom:, file: and mirror+file: mean nothing inside the box
    return Source(source.uri.rstrip("/"), source.suite, components)


def parse_lines(text: str) -> Iterable[Source]:
    """Read sources in the one-line style; lines that are not understood are passed over."""
    pattern = re.compile(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(\S.*)$")
    for line in text.splitlines():
        match = pattern.match(line.partition("#")[0].strip())
        if match is None:
            continue
        options = dict(option.split("=", 1) for option in (match[1] or "").split() if "=" in option)
        yield Source(match[2], match[3], tuple(match[4].split()), options.get("signed-by", ""))


def parse_deb822(text: str) -> Iterable[Source]:
    """Read sources in the deb822 style; stanzas that are switched off are passed over."""
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in " \t" and last:
                fields[last] += " " + line.strip()
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without"):
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                yield Source(uri, suite, components, fields.get("signed-by", ""))


def proxies() -> list[tuple[str, str]]:
    """Return the host's apt proxies as ``(option, URL)``; the environment's where apt has none."""
    try:
        dump = subprocess.run(
            ["apt-config", "dump", "Acquire"],
            capture_output=True, text=True, timeout=20, check=False,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        dump = ""
    found = [(m[1], m[2]) for line in dump.splitlines() if (m := _PROXY_LINE.match(line)) and m[2]]
    if found:
        return found
    return [
        (f"Acquire::{scheme}::Proxy", value)
        for scheme in ("http", "https")
        if (value := os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY"))
    ]


def proxy_config(found: Iterable[tuple[str, str]], *, for_qemu: bool) -> str:
    """Return an apt.conf(5) file for a box.

    Args:
        found: What `proxies` returned.
        for_qemu: Reach a proxy on the host's loopback through QEMU's gateway.
    """
    lines = []
    for option, url in found:
        target = _LOOPBACK.sub(f"//{QEMU_HOST}", url) if for_qemu else url
        lines.append(f'{option} "{target}";\n')
    return "".join(lines)


def local_certificates() -> list[Path]:
    """Return the certificates that the host's administrator added (update-ca-certificates(8))."""
    return sorted(_LOCAL_CERTIFICATES.rglob("*.crt"))
