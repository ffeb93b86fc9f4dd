"""What the methods that work through U-Boot share: its commands, and ways to get bytes into RAM."""
