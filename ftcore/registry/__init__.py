"""The versions of a model: verdicts, approvals, promotion, and that all of it is still what was signed."""
