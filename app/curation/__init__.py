"""Curating: flags on passages, lists of flagged passages and what is made of them, private sources."""
