"""How to reach things: SSH and this machine itself, with deadlines and verified host keys."""
