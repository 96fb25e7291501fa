"""From scores to rankings: tiles of the query x passage score matrix, and their reduction to top and bottom k."""
