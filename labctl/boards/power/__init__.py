"""Switching boards on and off.

A back end is a module with two functions and a table of its keys:

``KEYS``: name of each key of ``power:`` in the inventory -> (type, whether it must be there);
``get(config, *, deadline_s) -> bool | None``: whether it is on, None where that cannot be known;
``set(config, on, *, deadline_s) -> None``: switch it.

Both raise `labctl.errors.LabctlError` and end within ``deadline_s`` seconds. They are found through
the entry points ``labctl.power``; labctl's own come through the same door.
"""
