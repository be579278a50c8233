"""What counts as drift, one kind a file."""
