"""Conversations: read from whatever form they come in, and written as a model's template wants them."""
