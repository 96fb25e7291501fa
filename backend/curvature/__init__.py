"""Autocorrelations of projected gradients and the preconditioners made of them."""
