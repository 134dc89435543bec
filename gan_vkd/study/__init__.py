"""Studies: arms x seeds x checkpoints, trained, judged and compared over seeds."""
