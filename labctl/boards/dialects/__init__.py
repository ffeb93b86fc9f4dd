"""The kinds of shell that a board can have, each with its way to frame a command."""
