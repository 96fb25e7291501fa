"""Passages and queries: reading a user's own, finding stating passages and near-duplicates, the
demonstration.

No torch: the web application may import what is here.
"""
