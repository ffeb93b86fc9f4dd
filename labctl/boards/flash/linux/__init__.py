"""What it takes to write a block device of a board whose Linux runs."""
