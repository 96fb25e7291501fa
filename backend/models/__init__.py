"""Causal language models: training small ones, loading any, batching token sequences, generating outputs."""
