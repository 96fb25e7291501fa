"""Full-text search, what lists filter by, and rankings that were imported without their distributions."""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

FTS = "prompt_search"
WORD = re.compile(r"[^\W_]+")
BATCH = 2_000
NUMBERS = ("minimum", "maximum")


def upgrade() -> None:
    with op.batch_alter_table("prompts") as table:
        table.add_column(sa.Column("search_text", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("extra", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("output_model_id", sa.Text(), nullable=True))
        table.add_column(sa.Column("correct", sa.Boolean(), nullable=True))
        table.add_column(sa.Column("confidence", sa.Double(), nullable=True))
        table.add_column(sa.Column("has_opponents", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("annotation_count", sa.Integer(), nullable=False, server_default="0"))
        table.create_foreign_key(op.f("fk_prompts_output_model_id_models"), "models", ["output_model_id"], ["id"])
    _fill_prompts(op.get_bind())
    with op.batch_alter_table("prompts") as table:
        for name, kind in (("search_text", sa.Text()), ("has_opponents", sa.Boolean())):
            table.alter_column(name, existing_type=kind, existing_nullable=False, server_default=None)
        table.alter_column("annotation_count", existing_type=sa.Integer(), existing_nullable=False, server_default=None)
    _create_search(op.get_bind())
    with op.batch_alter_table("rankings") as table:
        table.add_column(sa.Column("tail_patch", sa.Double(), nullable=True))
        table.alter_column("scored", existing_type=sa.Integer(), nullable=True)
        for name in NUMBERS:
            table.alter_column(name, existing_type=sa.Double(), nullable=True)
        table.alter_column("histogram", existing_type=sa.JSON(none_as_null=True), nullable=True)
    columns = ["reciprocal_rank", "recall_at_10", "precision_at_1", "precision_at_10", "tail_patch"]
    op.create_index("ix_rankings_metrics", "rankings", ["run_id", "prompt_pk", *columns])
    with op.batch_alter_table("ranked_passages") as table:
        table.alter_column("percentile", existing_type=sa.Double(), nullable=True)
    with op.batch_alter_table("outputs") as table:
        for name in ("probability", "completion_probability"):
            table.alter_column(name, existing_type=sa.Double(), nullable=True)
    op.create_index("ix_passages_group", "passages", ["corpus_id", "near_duplicates"])
    op.create_index("ix_passages_source", "passages", ["corpus_id", "source", "position"])


def downgrade() -> None:
    """What only imports have (lists without distributions, answers without probabilities) gets zeros."""
    connection = op.get_bind()
    op.drop_index("ix_passages_source", table_name="passages")
    op.drop_index("ix_passages_group", table_name="passages")
    for column in ("probability", "completion_probability"):
        connection.execute(sa.text(f"UPDATE outputs SET {column} = 0 WHERE {column} IS NULL"))
    with op.batch_alter_table("outputs") as table:
        for name in ("probability", "completion_probability"):
            table.alter_column(name, existing_type=sa.Double(), nullable=False)
    connection.execute(sa.text("UPDATE ranked_passages SET percentile = 0 WHERE percentile IS NULL"))
    with op.batch_alter_table("ranked_passages") as table:
        table.alter_column("percentile", existing_type=sa.Double(), nullable=False)
    op.drop_index("ix_rankings_metrics", table_name="rankings")
    for column in ("scored", *NUMBERS):
        connection.execute(sa.text(f"UPDATE rankings SET {column} = 0 WHERE {column} IS NULL"))
    connection.execute(sa.text("UPDATE rankings SET histogram = '[]' WHERE histogram IS NULL"))
    with op.batch_alter_table("rankings") as table:
        table.alter_column("histogram", existing_type=sa.JSON(none_as_null=True), nullable=False)
        for name in NUMBERS:
            table.alter_column(name, existing_type=sa.Double(), nullable=False)
        table.alter_column("scored", existing_type=sa.Integer(), nullable=False)
        table.drop_column("tail_patch")
    if connection.dialect.name == "sqlite":
        for kind in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER {FTS}_{kind}")
        op.execute(f"DROP TABLE {FTS}")
    else:
        op.drop_index("ix_prompts_search", table_name="prompts")
    with op.batch_alter_table("prompts") as table:
        table.drop_constraint(op.f("fk_prompts_output_model_id_models"), type_="foreignkey")
        for name in ("annotation_count", "has_opponents", "confidence", "correct", "output_model_id"):
            table.drop_column(name)
        table.drop_column("extra")
        table.drop_column("search_text")


def _create_search(connection: sa.Connection) -> None:
    if connection.dialect.name != "sqlite":
        op.execute(
            "CREATE INDEX ix_prompts_search ON prompts USING gin (array_to_tsvector(string_to_array(search_text, ' ')))"
        )
        return
    add = f"INSERT INTO {FTS}(rowid, search_text) VALUES (new.pk, new.search_text);"
    remove = f"INSERT INTO {FTS}({FTS}, rowid, search_text) VALUES ('delete', old.pk, old.search_text);"
    op.execute(f"CREATE VIRTUAL TABLE {FTS} USING fts5(search_text, content='prompts', content_rowid='pk')")
    op.execute(f"CREATE TRIGGER {FTS}_insert AFTER INSERT ON prompts BEGIN {add} END")
    op.execute(f"CREATE TRIGGER {FTS}_delete AFTER DELETE ON prompts BEGIN {remove} END")
    op.execute(f"CREATE TRIGGER {FTS}_update AFTER UPDATE OF search_text ON prompts BEGIN {remove} {add} END")
    op.execute(f"INSERT INTO {FTS}({FTS}) VALUES ('rebuild')")


def _fill_prompts(connection: sa.Connection) -> None:
    """Compute the new columns of the prompts that are there."""
    texts = ("prompt", "completion", "subject", "object", "relation")
    prompts = sa.table(
        "prompts",
        sa.column("pk"),
        sa.column("aliases", sa.JSON()),
        sa.column("search_text"),
        *(sa.column(name) for name in texts),
    )
    chosen = sa.select(prompts.c.pk, prompts.c.aliases, *(prompts.c[name] for name in texts)).order_by(prompts.c.pk)
    change = sa.update(prompts).where(prompts.c.pk == sa.bindparam("of_prompt"))
    last = -1
    while rows := connection.execute(chosen.where(prompts.c.pk > last).limit(BATCH)).all():
        last = rows[-1].pk
        connection.execute(
            change.values(search_text=sa.bindparam("words")),
            [{"of_prompt": row.pk, "words": _search_text(row)} for row in rows],
        )
    connection.execute(sa.text(_SUMMARIES))


def _search_text(row: sa.Row) -> str:
    names = [name for known in (row.aliases or {}).values() for name in known]
    parts = (row.prompt, row.completion, row.subject, row.object, row.relation, *names)
    joined = " ".join(part for part in parts if part)
    plain = "".join(c for c in unicodedata.normalize("NFKD", joined) if unicodedata.category(c) != "Mn")
    return " ".join(dict.fromkeys(word[:100] for word in WORD.findall(plain.casefold())))


_NEWEST_MODEL = """
    COALESCE(
        (SELECT r.model_id FROM runs r
         WHERE r.query_set_id = prompts.query_set_id
           AND EXISTS (SELECT 1 FROM output_sets s
                       WHERE s.query_set_id = r.query_set_id AND s.model_id = r.model_id)
         ORDER BY r.created_at DESC, r.id DESC LIMIT 1),
        (SELECT s.model_id FROM output_sets s
         WHERE s.query_set_id = prompts.query_set_id ORDER BY s.created_at DESC, s.id DESC LIMIT 1))
"""
_SUMMARIES = f"""
UPDATE prompts SET
    output_model_id = (SELECT o.model_id FROM outputs o
                       WHERE o.prompt_pk = prompts.pk AND o.model_id = {_NEWEST_MODEL}),
    correct = (SELECT o.correct FROM outputs o WHERE o.prompt_pk = prompts.pk AND o.model_id = {_NEWEST_MODEL}),
    confidence = (SELECT o.probability FROM outputs o
                  WHERE o.prompt_pk = prompts.pk AND o.model_id = {_NEWEST_MODEL}),
    has_opponents = EXISTS (
        SELECT 1 FROM rankings k JOIN runs r ON r.id = k.run_id
        JOIN ranked_passages p ON p.ranking_pk = k.pk AND p.rank = -1
        WHERE k.prompt_pk = prompts.pk AND r.model_id IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM runs newer
                          WHERE newer.query_set_id = r.query_set_id AND newer.method = r.method
                            AND (newer.created_at > r.created_at
                                 OR (newer.created_at = r.created_at AND newer.id > r.id))))
"""
