"""The catalogue: corpora, models, query sets, outputs, runs, rankings, metrics, stages."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "corpora",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("passage_count", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corpora")),
    )
    op.create_table(
        "stages",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("done", sa.Double(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("process_id", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_stages")),
    )
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("corpus_id", sa.Text(), nullable=True),
        sa.Column("parameter_count", sa.BigInteger(), nullable=False),
        sa.Column("training", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpora.id"], name=op.f("fk_models_corpus_id_corpora")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
    )
    op.create_table(
        "passages",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("corpus_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("passage_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("license", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("near_duplicates", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpora.id"], name=op.f("fk_passages_corpus_id_corpora")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_passages")),
        sa.UniqueConstraint("corpus_id", "passage_id", name=op.f("uq_passages_corpus_id_passage_id")),
        sa.UniqueConstraint("corpus_id", "position", name=op.f("uq_passages_corpus_id_position")),
    )
    op.create_index(op.f("ix_passages_passage_id"), "passages", ["passage_id"])
    op.create_table(
        "query_sets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("corpus_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpora.id"], name=op.f("fk_query_sets_corpus_id_corpora")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_query_sets_model_id_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_query_sets")),
    )
    op.create_table(
        "output_sets",
        sa.Column("query_set_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_output_sets_model_id_models")),
        sa.ForeignKeyConstraint(
            ["query_set_id"], ["query_sets.id"], name=op.f("fk_output_sets_query_set_id_query_sets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_output_sets")),
    )
    op.create_table(
        "prompts",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("query_set_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("completion", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("object", sa.Text(), nullable=True),
        sa.Column("aliases", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("frequency", sa.Integer(), nullable=True),
        sa.Column("bucket", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["query_set_id"], ["query_sets.id"], name=op.f("fk_prompts_query_set_id_query_sets")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_prompts")),
        sa.UniqueConstraint("query_set_id", "position", name=op.f("uq_prompts_query_set_id_position")),
        sa.UniqueConstraint("query_set_id", "query_id", name=op.f("uq_prompts_query_set_id_query_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_prompts_slug")),
    )
    op.create_index("ix_prompts_bucket", "prompts", ["bucket", "pk"])
    op.create_index("ix_prompts_task", "prompts", ["task", "pk"])
    op.create_table(
        "runs",
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("corpus_id", sa.Text(), nullable=False),
        sa.Column("query_set_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("store_id", sa.Text(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpora.id"], name=op.f("fk_runs_corpus_id_corpora")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_runs_model_id_models")),
        sa.ForeignKeyConstraint(["query_set_id"], ["query_sets.id"], name=op.f("fk_runs_query_set_id_query_sets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_method"), "runs", ["method"])
    op.create_index(op.f("ix_runs_query_set_id"), "runs", ["query_set_id"])
    op.create_table(
        "entailments",
        sa.Column("prompt_pk", sa.Integer(), nullable=False),
        sa.Column("passage_pk", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["passage_pk"],
            ["passages.pk"],
            name=op.f("fk_entailments_passage_pk_passages"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["prompt_pk"], ["prompts.pk"], name=op.f("fk_entailments_prompt_pk_prompts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prompt_pk", "passage_pk", name=op.f("pk_entailments")),
    )
    op.create_index(op.f("ix_entailments_passage_pk"), "entailments", ["passage_pk"])
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_metrics_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "task", "bucket", "name", name=op.f("pk_metrics")),
    )
    op.create_table(
        "outputs",
        sa.Column("prompt_pk", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("completion_probability", sa.Double(), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=True),
        sa.Column("samples", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_outputs_model_id_models")),
        sa.ForeignKeyConstraint(
            ["prompt_pk"], ["prompts.pk"], name=op.f("fk_outputs_prompt_pk_prompts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prompt_pk", "model_id", name=op.f("pk_outputs")),
    )
    op.create_table(
        "rankings",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("prompt_pk", sa.Integer(), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        sa.Column("minimum", sa.Double(), nullable=False),
        sa.Column("maximum", sa.Double(), nullable=False),
        sa.Column("histogram", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("facts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("reciprocal_rank", sa.Double(), nullable=True),
        sa.Column("recall_at_10", sa.Double(), nullable=True),
        sa.Column("precision_at_1", sa.Double(), nullable=True),
        sa.Column("precision_at_10", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["prompt_pk"], ["prompts.pk"], name=op.f("fk_rankings_prompt_pk_prompts")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rankings_run_id_runs")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_rankings")),
        sa.UniqueConstraint("run_id", "prompt_pk", name=op.f("uq_rankings_run_id_prompt_pk")),
    )
    op.create_index("ix_rankings_prompt", "rankings", ["prompt_pk"])
    op.create_table(
        "ranked_passages",
        sa.Column("ranking_pk", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("passage_pk", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("percentile", sa.Double(), nullable=False),
        sa.Column("tail_patch", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["passage_pk"], ["passages.pk"], name=op.f("fk_ranked_passages_passage_pk_passages")),
        sa.ForeignKeyConstraint(
            ["ranking_pk"],
            ["rankings.pk"],
            name=op.f("fk_ranked_passages_ranking_pk_rankings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("ranking_pk", "rank", name=op.f("pk_ranked_passages")),
    )
    op.create_index("ix_ranked_passages_passage", "ranked_passages", ["passage_pk", "rank"])


def downgrade() -> None:
    op.drop_index("ix_ranked_passages_passage", table_name="ranked_passages")
    op.drop_table("ranked_passages")
    op.drop_index("ix_rankings_prompt", table_name="rankings")
    op.drop_table("rankings")
    op.drop_table("outputs")
    op.drop_table("metrics")
    op.drop_index(op.f("ix_entailments_passage_pk"), table_name="entailments")
    op.drop_table("entailments")
    op.drop_index(op.f("ix_runs_query_set_id"), table_name="runs")
    op.drop_index(op.f("ix_runs_method"), table_name="runs")
    op.drop_table("runs")
    op.drop_index("ix_prompts_task", table_name="prompts")
    op.drop_index("ix_prompts_bucket", table_name="prompts")
    op.drop_table("prompts")
    op.drop_table("output_sets")
    op.drop_table("query_sets")
    op.drop_index(op.f("ix_passages_passage_id"), table_name="passages")
    op.drop_table("passages")
    op.drop_table("models")
    op.drop_table("stages")
    op.drop_table("corpora")
