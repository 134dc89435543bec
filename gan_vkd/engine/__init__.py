"""Shared parts of training: the loop over a task, players, checkpoints, run directories."""
