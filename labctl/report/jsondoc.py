"""The envelope of every ``--json`` output: a schema name with a version, then the data.

``{"schema": "labctl.setup/1", ...}``. Within one version keys are only added; a key that changes
its meaning or goes away raises the number. docs/json.md lists the schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


def document(schema: str, version: int, data: Mapping[str, object]) -> str:
    """Return ``data`` as one JSON document in the envelope of ``labctl.<schema>/<version>``.

    It is plain ASCII, so that every stream takes it, whatever its encoding and whatever name that
    is not UTF-8 stands in it.
    """
    return json.dumps({"schema": f"labctl.{schema}/{version}", **data}, indent=2, default=str)
