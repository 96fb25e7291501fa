"""One passage and the prompts it stands behind."""
