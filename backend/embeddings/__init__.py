"""Embeddings of passages and queries: of a sentence model, and of the attributed model's own hidden states."""
