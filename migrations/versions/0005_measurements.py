"""Which measurements of methods are loaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "measurements",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("query_set_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["query_set_id"], ["query_sets.id"], name=op.f("fk_measurements_query_set_id_query_sets")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_measurements_model_id_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurements")),
    )
    op.create_index(op.f("ix_measurements_what"), "measurements", ["what"])


def downgrade() -> None:
    """The next load of the artifacts writes what they hold again."""
    op.drop_table("measurements")
