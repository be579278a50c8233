"""Rows on their way from a source to a snapshot, and the snapshots themselves."""
