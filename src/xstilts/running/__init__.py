"""Who computes what where: stages by executors, on this machine, on Ray or by Slurm."""
