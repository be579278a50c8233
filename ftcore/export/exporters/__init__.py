"""Formats that a trained model is exported to, one kind a file."""
