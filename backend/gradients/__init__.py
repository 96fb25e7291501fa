"""Projected per-example gradients: tracked layers, the optimizer's second moment, projections, encoder, store."""
