"""Flashing boards: one planner, many methods.

`image` reads what is to be written (each kind of file is a module in `formats`), `checks` refuses
what cannot be right for the board, `planner` chooses a method and says what will be done, `job`
does it: identify, skip what is there already, write, verify, record.

A method is one module with one subclass of `labctl.boards.flash.method.Method`, found through the
entry points ``labctl.flashers``; labctl's own come through the same door. What it needs to know of
a board stands in the board's model, below ``flash:``.
"""
