"""What a model is for, one kind a file."""
