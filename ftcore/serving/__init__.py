"""The champion at work: batch scoring."""
