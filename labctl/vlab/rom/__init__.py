"""Boot ROMs of microcontrollers, played on a serial line at the level of bytes on the wire.

`program` says what a program of a simulated chip may do (read, write, be busy) and runs it by a
clock that it is given; `stm32` and `esp32` are such programs, written from the makers' documents
and proved right by independent clients; `wire` is the line with its pace and its faults; `board`
puts them together and `python -m labctl.vlab.rom` runs one board. Everything but the ports and the
monitor knows no time but what it is given and no descriptors, so tests need neither.

No instruction of the chips is executed: a flashed program is recognised and greets, no more.
"""
