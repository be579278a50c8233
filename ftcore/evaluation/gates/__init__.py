"""What a candidate must prove, one rule a file."""
