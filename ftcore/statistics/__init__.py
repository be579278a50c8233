"""Intervals, resampling and error rates over many comparisons. Numbers in, numbers out."""
