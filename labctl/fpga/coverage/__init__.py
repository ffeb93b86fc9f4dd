"""What runs have reached: bins of testbenches, bits that toggled, lines and branches."""
