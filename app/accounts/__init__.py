"""Signing in and out, one's own account, and who a request comes from."""
