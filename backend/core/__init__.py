"""Pure building blocks: records, ids and hashes, artifact manifests, rank metrics, text. No torch, no database."""
