"""The programming interface under /api/v1, its description as OpenAPI, and the page that shows it."""
