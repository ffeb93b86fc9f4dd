"""Virtual AVR boards: Debian's simavr runs a real boot loader, with a tty as its line.

`parts` says what such a board is made of, `build` makes the simulator (`simulator.c`) and the boot
loader on this machine, `board` starts one.
"""
