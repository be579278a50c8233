"""Benchmarks: ours and the usual way, measured in turn in one run. ``python -m tests.bench [NAME]``."""
