"""Dialogues that people write: what to wait for, what to type, as a file or with pexpect.

`schema` is the shape of a script and `script` reads one, naming each mistake at its place; `spawn`
is pexpect on a line that is leased to us, with its delays off and its window bounded; `dialogue`
runs a script, and `nearest` explains what did not come.
"""
