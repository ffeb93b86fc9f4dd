"""Signs of life in the output of a step: what apt and dpkg say of how far they are."""

from __future__ import annotations

from labctl.report.sanitize import clean_line


def progress_text(line: str) -> str:
    """Return what to show for a line of apt's status stream, or nothing for any other line.

    Source: apt's README.progress-reporting: ``pmstatus:package:percent:text`` and
    ``dlstatus:item:percent:text``.
    """
    word, _, rest = line.partition(":")
    if word not in ("pmstatus", "dlstatus"):
        return ""
    _, _, rest = rest.partition(":")
    percent, _, text = rest.partition(":")
    try:
        share = float(percent)
    except ValueError:
        return ""
    return f"{share:3.0f} % {clean_line(text, limit=70)}"
