"""Kinds of image files, one module each.

A module has ``KIND``, its name for people; ``ORDER``, its place among those that are asked whether
a file is theirs (the most particular first, ``raw`` last); ``detect(head, name) -> bool``, from the
first 4096 bytes and the name of the file; and ``read(data, path) -> Image``, which raises
`labctl.errors.UsageError` where the file is damaged, saying where.
"""
