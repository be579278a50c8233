"""Base models and what they read and say: loading, tokens, inputs, outputs, embeddings."""
