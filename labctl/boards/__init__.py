"""Talk to development boards: one owner for each serial line, framed commands, boot, power."""
