"""On a SLURM cluster: what jobs need, and the jobs that a dead run has left."""
