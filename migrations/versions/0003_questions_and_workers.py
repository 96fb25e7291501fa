"""Questions of readers: jobs, who asked for them, workers, and prompts that no list shows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "content_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_version")),
    )
    op.execute("INSERT INTO content_version (id, version) VALUES (1, 0)")
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.Column("jobs_finished", sa.Integer(), nullable=False),
        sa.Column("lease_losses", sa.Integer(), nullable=False),
        sa.Column("scan_bytes", sa.Double(), nullable=False),
        sa.Column("scan_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "asks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asks")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_asks_idempotency_key")),
    )
    op.create_index("ix_asks_reader", "asks", ["reader", "created_at"])
    # A column that may be added in place: rebuilding prompts would drop the triggers of its search.
    op.add_column("prompts", sa.Column("asked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_prompts_asked", "prompts", ["pk"], sqlite_where=sa.text("asked"), postgresql_where=sa.text("asked")
    )
    with op.batch_alter_table("query_sets") as table:
        table.add_column(sa.Column("asked_of", sa.Text(), nullable=True))
        table.create_unique_constraint(op.f("uq_query_sets_asked_of"), ["asked_of"])
        table.create_foreign_key(op.f("fk_query_sets_asked_of_query_sets"), "query_sets", ["asked_of"], ["id"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("queued_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("result", JSON, nullable=True),
        sa.Column("prompt_pk", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_jobs_run_id_runs")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_jobs_model_id_models")),
        sa.ForeignKeyConstraint(["prompt_pk"], ["prompts.pk"], name=op.f("fk_jobs_prompt_pk_prompts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_queue", "jobs", ["state", "priority", "queued_at"])
    op.create_index("ix_jobs_finished", "jobs", ["kind", "run_id", "finished_at"])
    op.create_index(op.f("ix_jobs_owner"), "jobs", ["owner"])
    op.create_table(
        "asked_jobs",
        sa.Column("ask_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["ask_id"], ["asks.id"], name=op.f("fk_asked_jobs_ask_id_asks"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_asked_jobs_job_id_jobs")),
        sa.PrimaryKeyConstraint("ask_id", "job_id", name=op.f("pk_asked_jobs")),
    )
    op.create_index(op.f("ix_asked_jobs_job_id"), "asked_jobs", ["job_id"])


def downgrade() -> None:
    """Questions are gone with their tables, and so are the lists that were appended to runs for them."""
    connection = op.get_bind()
    for table in ("asked_jobs", "jobs", "asks", "workers", "content_version"):
        op.drop_table(table)
    asked = "SELECT pk FROM prompts WHERE asked"
    of_asked = f"SELECT pk FROM rankings WHERE prompt_pk IN ({asked})"
    connection.execute(sa.text(f"DELETE FROM ranked_passages WHERE ranking_pk IN ({of_asked})"))
    for table in ("rankings", "outputs", "entailments"):
        connection.execute(sa.text(f"DELETE FROM {table} WHERE prompt_pk IN ({asked})"))
    connection.execute(sa.text("DELETE FROM prompts WHERE asked"))
    connection.execute(sa.text("DELETE FROM query_sets WHERE asked_of IS NOT NULL"))
    with op.batch_alter_table("query_sets") as table:
        table.drop_constraint(op.f("fk_query_sets_asked_of_query_sets"), type_="foreignkey")
        table.drop_constraint(op.f("uq_query_sets_asked_of"), type_="unique")
        table.drop_column("asked_of")
    op.drop_index("ix_prompts_asked", table_name="prompts")
    op.execute("ALTER TABLE prompts DROP COLUMN asked")
