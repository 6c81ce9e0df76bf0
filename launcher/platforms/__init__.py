"""Where nodes and slots come from: this machine, Slurm, Ray jobs."""
