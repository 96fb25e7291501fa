"""The database that pages read: tables, loading artifacts into them, repositories. No torch."""
