"""Kinds of image files, one module each.

A module has ``KIND``, its name for commands and methods (that of the module); ``TITLE``, its name
for people; ``ORDER``, its place among those that are asked whether a file is theirs (the most
particular first, ``raw`` last); ``detect(head, name) -> bool``, from the first
`labctl.boards.flash.image.HEAD_BYTES` bytes and the name of the file; and
``read(data, path) -> Image``, which raises `labctl.errors.UsageError` where the file is damaged,
saying where. No length that a file gives is believed before it was compared with what is there.

Modules whose name begins with ``_`` are no kinds; they are what several kinds share.
"""
