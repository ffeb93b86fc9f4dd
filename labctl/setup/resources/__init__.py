"""One file per kind of resource that a profile may ask for."""
