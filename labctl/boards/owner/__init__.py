"""The owner of a serial line: one small process that reads it, records it and shares it.

It is started at the first use and stays, so that nothing a board says is lost. `place` says where
it lives, `log` is what it writes, `leases` who may write, `server` the loop, `protocol` what its
clients say to it.
"""
