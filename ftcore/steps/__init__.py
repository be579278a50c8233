"""The verbs of the ring, one a file: ingest, prepare, validate, plan, train, export, evaluate, gate, promote, watch,
decide."""
