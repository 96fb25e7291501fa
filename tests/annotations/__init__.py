"""Writing, reading, pooling and exchanging annotations."""
