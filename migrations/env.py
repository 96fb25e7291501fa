"""What Alembic runs: over the caller's connection, or over the configured catalogue."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from backend.catalogue.database import open_catalogue
from backend.catalogue.models import Base, UtcDateTime
from backend.catalogue.search import is_of_search
from backend.settings import get_settings


def render(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write our own column types as the database's: a migration must not depend on today's models."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
        render_item=render,
        include_object=lambda _item, name, kind, *_: not is_of_search(kind, name),
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with open_catalogue(get_settings()).connect() as own, own.begin():
        run(own)
