"""Users and what people write: annotations with their history, pools to judge blind, flags, private sources."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

PEOPLES = (
    *("pool_skips", "annotation_changes", "pool_items", "annotations", "sessions", "private_sources", "pools", "flags"),
    *("audit_events", "api_tokens", "users"),
)
"""Tables of this revision, those that refer to others first."""

BATCH = 2_000


def upgrade() -> None:
    """Where an earlier downgrade left what people wrote, it is found again."""
    if not sa.inspect(op.get_bind()).has_table("users"):
        _create()
    op.add_column("passages", sa.Column("withheld", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_passages_content", "passages", ["content_hash"])
    op.add_column("prompts", sa.Column("query_hash", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_index("ix_prompts_texts", "prompts", ["query_hash"])
    _hash_queries(op.get_bind())


def downgrade() -> None:
    """What can be loaded again goes; what people wrote stays for the next upgrade, unless there is nobody."""
    op.drop_index("ix_prompts_texts", table_name="prompts")
    op.drop_column("prompts", "query_hash")
    op.drop_index("ix_passages_content", table_name="passages")
    op.drop_column("passages", "withheld")
    if not op.get_bind().scalar(sa.text("SELECT count(*) FROM users")):
        for table in PEOPLES:
            op.drop_table(table)


def _hash_queries(connection: sa.Connection) -> None:
    """Fill the new column of the prompts that are there."""
    prompts = sa.table("prompts", *(sa.column(name) for name in ("pk", "prompt", "completion", "query_hash")))
    update = prompts.update().where(prompts.c.pk == sa.bindparam("of")).values(query_hash=sa.bindparam("hash"))
    last = 0
    while True:
        query = sa.select(prompts.c.pk, prompts.c.prompt, prompts.c.completion).where(prompts.c.pk > last)
        rows = connection.execute(query.order_by(prompts.c.pk).limit(BATCH)).all()
        if not rows:
            return
        hashes = [(pk, json.dumps([prompt, completion], ensure_ascii=False)) for pk, prompt, completion in rows]
        connection.execute(update, [{"of": pk, "hash": hashlib.sha256(t.encode()).hexdigest()} for pk, t in hashes])
        last = rows[-1].pk


def _create() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_tokens_secret_hash")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"])
    op.create_table(
        "audit_events",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_events_user_id_users")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_user", "audit_events", ["user_id", "pk"])
    op.create_table(
        "flags",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("passage_id", sa.Text(), nullable=False),
        sa.Column("corpus_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cleared_by", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["cleared_by"], ["users.id"], name=op.f("fk_flags_cleared_by_users")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_flags_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flags")),
    )
    op.create_index("ix_flags_passage", "flags", ["passage_id"])
    op.create_index(
        "uq_flags_standing",
        "flags",
        ["content_hash", "reason"],
        unique=True,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_table(
        "pools",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("guidelines", sa.Text(), nullable=False),
        sa.Column("runs", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("prompts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_pools_created_by_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pools")),
    )
    op.create_table(
        "private_sources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_private_sources_user_id_users")),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_private_sources")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_table(
        "annotations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=True),
        sa.Column("query_hash", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("subject", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("span", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_annotations_pool_id_pools")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_annotations_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
    )
    op.create_index("ix_annotations_pool", "annotations", ["pool_id"])
    op.create_index("ix_annotations_query", "annotations", ["query_hash", "content_hash"])
    op.create_index("ix_annotations_user", "annotations", ["user_id", "updated_at"])
    op.create_index(
        "uq_annotations_in_place",
        "annotations",
        ["user_id", "query_hash", "content_hash"],
        unique=True,
        sqlite_where=sa.text("pool_id IS NULL"),
        postgresql_where=sa.text("pool_id IS NULL"),
    )
    op.create_index(
        "uq_annotations_in_pool",
        "annotations",
        ["user_id", "query_hash", "content_hash", "pool_id"],
        unique=True,
        sqlite_where=sa.text("pool_id IS NOT NULL"),
        postgresql_where=sa.text("pool_id IS NOT NULL"),
    )
    op.create_table(
        "pool_items",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=False),
        sa.Column("query_hash", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("passage_id", sa.Text(), nullable=False),
        sa.Column("ranks", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["pool_id"], ["pools.id"], name=op.f("fk_pool_items_pool_id_pools"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_pool_items")),
        sa.UniqueConstraint(
            "pool_id", "query_hash", "content_hash", name=op.f("uq_pool_items_pool_id_query_hash_content_hash")
        ),
    )
    op.create_table(
        "annotation_changes",
        sa.Column("annotation_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("span", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotations.id"],
            name=op.f("fk_annotation_changes_annotation_id_annotations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_annotation_changes_user_id_users")),
        sa.PrimaryKeyConstraint("annotation_id", "version", name=op.f("pk_annotation_changes")),
    )
    op.create_table(
        "pool_skips",
        sa.Column("item_pk", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_pk"], ["pool_items.pk"], name=op.f("fk_pool_skips_item_pk_pool_items"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_pool_skips_user_id_users")),
        sa.PrimaryKeyConstraint("item_pk", "user_id", name=op.f("pk_pool_skips")),
    )
