"""The virtual lab: real Debian systems in QEMU, and light fleets of them."""
