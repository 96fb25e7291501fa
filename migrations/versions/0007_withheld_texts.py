"""Texts of passages from private sources, kept apart from the passages that everybody reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

PLACEHOLDER = "The text of this passage is withheld: its source is private."


def upgrade() -> None:
    """Texts that a downgrade put back among the passages are taken away again."""
    op.create_table(
        "withheld_texts",
        sa.Column("passage_pk", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["passage_pk"], ["passages.pk"], name="fk_withheld_texts_passage_pk_passages", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("passage_pk", name="pk_withheld_texts"),
    )
    op.execute(
        "INSERT INTO withheld_texts (passage_pk, text, title) SELECT pk, text, title FROM passages WHERE withheld"
    )
    hide = sa.text("UPDATE passages SET text = :placeholder, title = NULL WHERE withheld")
    op.get_bind().execute(hide, {"placeholder": PLACEHOLDER})


def downgrade() -> None:
    """The texts go back to their passages, which stay marked."""
    for column in ("text", "title"):
        kept = f"(SELECT w.{column} FROM withheld_texts w WHERE w.passage_pk = passages.pk)"
        op.execute(f"UPDATE passages SET {column} = {kept} WHERE pk IN (SELECT passage_pk FROM withheld_texts)")
    op.drop_table("withheld_texts")
