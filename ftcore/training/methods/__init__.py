"""Ways to train, one kind a file."""
