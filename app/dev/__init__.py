"""Pages for those who work on the site; served only in development."""
