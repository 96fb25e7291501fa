"""The list of prompts, one prompt with its rankings, and permalinks."""
