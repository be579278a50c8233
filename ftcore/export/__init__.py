"""The candidate in other formats, each proven to say what the trained model says."""
