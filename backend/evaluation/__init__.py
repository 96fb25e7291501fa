"""Measurements of what passages do to a model."""
