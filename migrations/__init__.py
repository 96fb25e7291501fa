"""Schema changes of the catalogue, applied in order by Alembic (``backend.catalogue.database.migrate``)."""
