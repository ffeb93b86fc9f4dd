"""What is sent along to a host and runs there, in its own Python: nothing of labctl is there.

`bundle` joins these modules into one file. They import the standard library alone, and psutil and
nvidia-ml-py where the host has them; Python 3.7 must do. On this machine the same modules are used
as they are.
"""
