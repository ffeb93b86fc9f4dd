"""Ways to run jobs: one simulator for each, or one that serves many."""
