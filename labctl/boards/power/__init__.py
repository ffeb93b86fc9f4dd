"""Switching boards on and off.

A back end is a module with two functions and a table of its keys:

``KEYS``: name of each key of ``power:`` in the inventory -> `labctl.boards.keys.Key`;
``get(config, *, deadline_s) -> bool | None``: whether it is on, None where that cannot be known;
``set(config, on, *, deadline_s) -> None``: switch it.

Both raise `labctl.errors.LabctlError` and end within ``deadline_s`` seconds. It may have three
things more: ``check(config) -> list[str]``, what is wrong with keys that fit one by one; ``OFF_S``,
the shortest pause between off and on in seconds, where 1 is not right; and ``ASKS = True``, if it
asks a person, through ``config["ask"]``.

Back ends are found through the entry points ``labctl.power``; labctl's own come through the same
door.
"""
