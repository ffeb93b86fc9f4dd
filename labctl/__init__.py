"""labctl: set up boxes, check hosts and GPUs, drive boards, verify FPGA designs."""

__version__ = "0.1.0"
