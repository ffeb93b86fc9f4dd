"""The scripted board: a virtual board on a pseudo-terminal whose serial line fails on demand.

It runs as a program of its own (``python -m labctl.vlab.scripted``) and is driven like the other
virtual boards: its line is a tty, its power and its faults are behind a QMP socket. The pure
parts (`pacing`, `resample`, `damage`, `fifo`, `hush`) know no time but what they are given and no
descriptors, so tests need none either. See docs/scripted-board.md.
"""
