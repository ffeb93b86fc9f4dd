"""What linters say of a core, in one shape: where, which rule, what."""
