"""Pages that a person reads: self-contained HTML, plain words first, numbers second, hashes last."""
