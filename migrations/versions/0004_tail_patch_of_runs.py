"""Which artifacts of tail-patch over whole runs are loaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "patch_sets",
        sa.Column("query_set_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["query_set_id"], ["query_sets.id"], name=op.f("fk_patch_sets_query_set_id_query_sets")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_patch_sets_model_id_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patch_sets")),
    )


def downgrade() -> None:
    """The next load of the artifacts writes what they hold again."""
    op.drop_table("patch_sets")
