"""What runs inside the simulator, where this folder is on the path of Python."""
