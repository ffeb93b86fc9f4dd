"""The text of an inventory file, checked from end to end and turned into plain objects."""

from __future__ import annotations

from pathlib import Path

from labctl.inventory.build import build
from labctl.inventory.checks import check_references
from labctl.inventory.diagnostics import Diagnostic, InventoryError, shown_path
from labctl.inventory.secrets import remove_secrets
from labctl.inventory.validate import validate
from labctl.inventory.virtual import Static
from labctl.inventory.yamlnodes import Mapping, parse


def compile_text(text: str, path: Path) -> Static:
    """Return what ``text`` says.

    Args:
        text: Content of the file.
        path: The file it is from; need not exist.

    Raises:
        InventoryError: The text has mistakes; carries all of them.
    """
    shown = shown_path(path)
    root, found = parse(text, keep_repeated=True)
    if root is None:
        # Nothing but comments parses to no root and no mistake.
        found = found or [Diagnostic(1, 1, "the file is empty; write at least 'hosts: {}'")]
        raise InventoryError(shown, found)
    if not isinstance(root, Mapping):
        message = "the file must be a mapping; begin with 'hosts:' and indent the hosts below it"
        raise InventoryError(shown, [*found, Diagnostic(root.line, root.column, message)])
    found += remove_secrets(root)
    file, mistakes = validate(root)
    found += mistakes
    found += check_references(root)
    if found or file is None:
        raise InventoryError(shown, found)
    return build(path.absolute(), file)
