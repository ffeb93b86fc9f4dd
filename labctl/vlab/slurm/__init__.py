"""A real Slurm on this machine: Debian's munged, slurmctld and several slurmd on loopback ports."""
