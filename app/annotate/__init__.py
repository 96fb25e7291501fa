"""Judging passages: in place on a prompt's page, blind in a pool's queue; what was judged, as pages and files."""
