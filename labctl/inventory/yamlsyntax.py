"""The YAML parser's complaints in words that say what to write instead."""

from __future__ import annotations

import yaml

from labctl.inventory.diagnostics import Diagnostic

# The beginning of libyaml's or PyYAML's message -> what it means to the person who wrote the file.
# Source: scanner.c and parser.c of libyaml 0.2.5, scanner.py and parser.py of PyYAML 6.
_MEANINGS = (
    (
        "mapping values are not allowed",
        "a ':' does not fit here; put text that contains ': ' in quotes, or correct the indent",
    ),
    ("could not find expected ':'", "a key without ':'; write 'key: value'"),
    ("did not find expected key", "the indentation does not fit; align keys of one mapping"),
    ("expected <block end>", "the indentation does not fit; align keys of one mapping"),
    (
        "did not find expected '-' indicator",
        "the list ends here without reason; align its '-', or indent what belongs to an entry",
    ),
    ("did not find expected ',' or ']'", "a list in brackets is not closed; write ',' or ']'"),
    ("did not find expected ',' or '}'", "a mapping in braces is not closed; write ',' or '}'"),
    ("expected ',' or ']'", "a list in brackets is not closed; write ',' or ']'"),
    ("expected ',' or '}'", "a mapping in braces is not closed; write ',' or '}'"),
    ("found unexpected end of stream", "a quote is not closed; write the closing quote"),
    ("found unexpected document indicator", "a quote is not closed; write the closing quote"),
    (
        "found unknown escape character",
        "an unknown escape; write single quotes, or '\\\\' for '\\'",
    ),
    ("block sequence entries are not allowed", "a '-' does not fit here; put it on its own line"),
    ("block mapping", "the indentation does not fit; align keys of one mapping"),
    (
        "found character that cannot start any token",
        "a value cannot begin with this character; put the value in quotes",
    ),
    ("found character '\\t'", "a tab; write spaces"),
    ("found a tab character", "a tab for indentation; write spaces"),
)


def explain(error: yaml.MarkedYAMLError, text: str) -> Diagnostic:
    """Return the mistake that ``error`` means in ``text``.

    Args:
        error: What PyYAML raised.
        text: The text that was parsed; only looked at, never quoted (it may hold a secret).
    """
    problem = str(error.problem or error.context or "not YAML")
    meaning = next((text for start, text in _MEANINGS if problem.startswith(start)), None)
    mark = error.problem_mark or error.context_mark
    if meaning and ("not closed" in meaning or "without ':'" in meaning) and error.context_mark:
        mark = error.context_mark  # where it was opened helps more than where the file ends
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    rows = text.split("\n")
    row = rows[line - 1] if line <= len(rows) else ""
    tab = row.find("\t", 0, len(row) - len(row.lstrip()))
    if tab >= 0:
        return Diagnostic(line, tab + 1, "a tab for indentation; write spaces")
    if meaning is None:
        meaning = f"not YAML ({problem}); put special text in quotes"
    return Diagnostic(line, column, meaning)
