"""The verbs of the ring, one a file, from ingest to decide."""
