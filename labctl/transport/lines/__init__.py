"""Serial lines, however they are reached: a tty, a network port, another host, a command."""
