"""What every training shares: the loop over a task, players, checkpoints, run directories."""
