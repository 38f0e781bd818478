"""On a SLURM cluster: the jobs that a dead run has left in the queue."""
