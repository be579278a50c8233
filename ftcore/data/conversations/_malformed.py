"""The fault of a row whose conversation is none."""


class MalformedError(ValueError):
    """What is meant as a conversation and cannot be read as one."""
