"""The door to Great Expectations: suites over a draft of a snapshot, their history and their pages."""
