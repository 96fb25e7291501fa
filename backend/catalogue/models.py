"""Tables of the catalogue.

The catalogue is a rebuildable index over artifacts: everything here but what people write can be loaded
again from the folders under the home. Relationships are not lazy: a repository says what it loads
(``lazy="raise"``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.catalogue.account_models import ApiToken, AuditEvent, User, UserSession
from backend.catalogue.annotation_models import (
    Annotation,
    AnnotationChange,
    Flag,
    Pool,
    PoolItem,
    PoolSkip,
    PrivateSource,
)
from backend.catalogue.base import Base, ContentVersion, UtcDateTime
from backend.catalogue.job_models import Ask, AskedJob, Job, Worker
from backend.core.records import query_hash

__all__ = [
    "Annotation",
    "AnnotationChange",
    "ApiToken",
    "Ask",
    "AskedJob",
    "AuditEvent",
    "Base",
    "ContentVersion",
    "Corpus",
    "Entailment",
    "Flag",
    "Job",
    "Measurement",
    "Metric",
    "Model",
    "Output",
    "OutputSet",
    "Passage",
    "PatchSet",
    "Pool",
    "PoolItem",
    "PoolSkip",
    "PrivateSource",
    "Prompt",
    "QuerySet",
    "RankedPassage",
    "Ranking",
    "Run",
    "Stage",
    "User",
    "UserSession",
    "UtcDateTime",
    "WithheldText",
    "Worker",
]


class Artifact:
    """Columns that every artifact's row has."""

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    manifest: Mapped[dict[str, Any]]
    """The whole MANIFEST.json without its file list."""


class Corpus(Artifact, Base):
    __tablename__ = "corpora"

    name: Mapped[str]
    passage_count: Mapped[int]


class Passage(Base):
    __tablename__ = "passages"
    __table_args__ = (
        UniqueConstraint("corpus_id", "position"),
        UniqueConstraint("corpus_id", "passage_id"),
        Index("ix_passages_group", "corpus_id", "near_duplicates"),
        Index("ix_passages_source", "corpus_id", "source", "position"),
        Index("ix_passages_content", "content_hash"),
    )

    pk: Mapped[int] = mapped_column(primary_key=True)
    corpus_id: Mapped[str] = mapped_column(ForeignKey("corpora.id"))
    position: Mapped[int]
    """Row of the passage in its corpus and in every gradient store of it."""
    passage_id: Mapped[str] = mapped_column(index=True)
    """The id that its corpus gives it; used in URLs and exports."""
    text: Mapped[str]
    source: Mapped[str]
    title: Mapped[str | None]
    url: Mapped[str | None]
    license: Mapped[str | None]
    content_hash: Mapped[str]
    near_duplicates: Mapped[str | None]
    """Id of the first passage of its near-duplicate group."""
    withheld: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Its source is private: ``text`` is a placeholder, and readers see only where it comes from."""


class WithheldText(Base):
    """The text of a passage whose source is private (``backend/catalogue/withheld.py``)."""

    __tablename__ = "withheld_texts"

    passage_pk: Mapped[int] = mapped_column(ForeignKey("passages.pk", ondelete="CASCADE"), primary_key=True)
    text: Mapped[str]
    title: Mapped[str | None]


class Model(Artifact, Base):
    __tablename__ = "models"

    name: Mapped[str]
    corpus_id: Mapped[str | None] = mapped_column(ForeignKey("corpora.id"))
    """The corpus it was trained on here; None for a loaded model."""
    parameter_count: Mapped[int] = mapped_column(BigInteger)
    training: Mapped[dict[str, Any] | None]
    """training.json: the learning curve and checkpoints; None for a loaded model."""


class QuerySet(Artifact, Base):
    __tablename__ = "query_sets"

    name: Mapped[str]
    corpus_id: Mapped[str] = mapped_column(ForeignKey("corpora.id"))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    """The model whose answers the queries are made of (wrong predictions); None otherwise."""
    asked_of: Mapped[str | None] = mapped_column(ForeignKey("query_sets.id"), unique=True)
    """The set whose runs answer these: readers' own questions, which no artifact holds; None for all other sets."""


def _query_hash(context: Any) -> str:
    row = context.get_current_parameters()
    return query_hash(row["prompt"], row["completion"])


class Prompt(Base):
    __tablename__ = "prompts"
    __table_args__ = (
        UniqueConstraint("query_set_id", "query_id"),
        UniqueConstraint("query_set_id", "position"),
        Index("ix_prompts_task", "task", "pk"),
        Index("ix_prompts_bucket", "bucket", "pk"),
        Index("ix_prompts_texts", "query_hash"),
        Index("ix_prompts_asked", "pk", sqlite_where=text("asked"), postgresql_where=text("asked")),
    )
    # backend/catalogue/search.py adds the full-text index.

    pk: Mapped[int] = mapped_column(primary_key=True)
    query_set_id: Mapped[str] = mapped_column(ForeignKey("query_sets.id"))
    position: Mapped[int]
    """Row of the query in its set and in every score matrix of it."""
    query_id: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)
    task: Mapped[str]
    """A task's slug; empty for a question that was asked without one."""
    prompt: Mapped[str]
    completion: Mapped[str]
    query_hash: Mapped[str] = mapped_column(default=_query_hash, server_default=text("''"))
    """``backend.core.records.query_hash`` of the two: what annotations know it by."""
    relation: Mapped[str | None]
    subject: Mapped[str | None]
    object: Mapped[str | None]
    aliases: Mapped[dict[str, Any]]
    frequency: Mapped[int | None]
    bucket: Mapped[str | None]
    search_text: Mapped[str]
    """What full-text search looks into: the words of prompt, completion and names, as ``search_words`` gives them."""
    extra: Mapped[dict[str, Any] | None]
    """Fields that came with the query and that only exports give back."""
    output_model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    """The model whose answer stands for the prompt in lists; this and the next are of prompt_summaries.py."""
    correct: Mapped[bool | None]
    confidence: Mapped[float | None]
    """Probability of that answer."""
    has_opponents: Mapped[bool] = mapped_column(default=False)
    """Some current run of a method that looks at the model stores an opponent."""
    annotation_count: Mapped[int] = mapped_column(default=0)
    asked: Mapped[bool] = mapped_column(default=False, server_default=false())
    """A reader's own question: reached by its address, never listed."""


class Entailment(Base):
    """A passage that states a prompt's fact."""

    __tablename__ = "entailments"

    prompt_pk: Mapped[int] = mapped_column(ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True)
    passage_pk: Mapped[int] = mapped_column(ForeignKey("passages.pk", ondelete="CASCADE"), primary_key=True, index=True)


class OutputSet(Artifact, Base):
    """A loaded artifact of a model's answers to a query set; its answers are the rows of ``outputs``."""

    __tablename__ = "output_sets"

    query_set_id: Mapped[str] = mapped_column(ForeignKey("query_sets.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    kind: Mapped[str]
    """greedy or samples."""


class Output(Base):
    """What a model answers to a prompt."""

    __tablename__ = "outputs"

    prompt_pk: Mapped[int] = mapped_column(ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), primary_key=True)
    text: Mapped[str]
    probability: Mapped[float | None]
    """Probability of the whole greedy output under the model; of an imported one the confidence that came with it."""
    completion_probability: Mapped[float | None]
    """Probability of the prompt's completion under the model; None where it was not measured."""
    correct: Mapped[bool | None]
    """None where no answer is right or wrong (open generation)."""
    samples: Mapped[list[Any]]
    """[{"text", "probability"}], empty until they are drawn."""


class Run(Artifact, Base):
    """One method over one model, corpus and query set: immutable."""

    __tablename__ = "runs"

    method: Mapped[str] = mapped_column(index=True)
    corpus_id: Mapped[str] = mapped_column(ForeignKey("corpora.id"))
    query_set_id: Mapped[str] = mapped_column(ForeignKey("query_sets.id"), index=True)
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    """None for a method that looks at no model (BM25, random)."""
    store_id: Mapped[str | None]
    """The gradient store that it scores; None for a method without one."""


class Ranking(Base):
    """A run's answer to one prompt: the score distribution over the corpus and the retrieval metrics."""

    __tablename__ = "rankings"
    __table_args__ = (
        UniqueConstraint("run_id", "prompt_pk"),
        Index("ix_rankings_prompt", "prompt_pk"),
        # Means over a filter read this index alone: a row of the table is long.
        Index(
            "ix_rankings_metrics",
            "run_id",
            "prompt_pk",
            "reciprocal_rank",
            "recall_at_10",
            "precision_at_1",
            "precision_at_10",
            "tail_patch",
        ),
    )

    pk: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    prompt_pk: Mapped[int] = mapped_column(ForeignKey("prompts.pk"))
    scored: Mapped[int | None]
    """How many passages were scored; this and the next three are None for an imported list, which does not say."""
    minimum: Mapped[float | None]
    maximum: Mapped[float | None]
    histogram: Mapped[list[Any] | None]
    """64 counts over equal steps from minimum to maximum."""
    facts: Mapped[dict[str, Any]]
    """What the method records for this query: lambda, k, the query set and n behind R_eval."""
    reciprocal_rank: Mapped[float | None]
    recall_at_10: Mapped[float | None]
    precision_at_1: Mapped[float | None]
    precision_at_10: Mapped[float | None]
    tail_patch: Mapped[float | None]
    """Mean tail-patch of the first ten passages, in percentage points; None until that many are measured."""


class RankedPassage(Base):
    __tablename__ = "ranked_passages"
    __table_args__ = (Index("ix_ranked_passages_passage", "passage_pk", "rank"),)

    ranking_pk: Mapped[int] = mapped_column(ForeignKey("rankings.pk", ondelete="CASCADE"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    """1, 2, ... for proponents, highest score first; -1, -2, ... for opponents, lowest score first."""
    passage_pk: Mapped[int] = mapped_column(ForeignKey("passages.pk"))
    score: Mapped[float]
    percentile: Mapped[float | None]
    """Share of the scored passages, in percent, with a lower score (ties count half); None for an imported list."""
    tail_patch: Mapped[float | None]
    """Change of the completion's probability by one step on the passage, in percentage points; None: not measured."""


class Metric(Base):
    """A mean over a run's queries: MRR, Recall@10, tail-patch, ... by task and bucket (empty string: all)."""

    __tablename__ = "metrics"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]
    n: Mapped[int]


class PatchSet(Artifact, Base):
    """A loaded artifact of tail-patch over runs; what it measured is in the columns and metrics ``tail_patch``.

    Its manifest has the means of the baselines too: a random passage, and passages that state the fact.
    """

    __tablename__ = "patch_sets"

    query_set_id: Mapped[str] = mapped_column(ForeignKey("query_sets.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    """The model that took the steps."""


class Measurement(Artifact, Base):
    """A loaded measurement of methods; its numbers are the facts of its manifest, for pages to pick from."""

    __tablename__ = "measurements"

    what: Mapped[str] = mapped_column(index=True)
    """lds, removal, checkpoints, fidelity, kinds, ...: decides the form of the facts."""
    query_set_id: Mapped[str] = mapped_column(ForeignKey("query_sets.id"))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    """The model that it is about; None for one about texts alone."""


class Stage(Base):
    """Progress of a stage, for banners and `proponent status`."""

    __tablename__ = "stages"

    name: Mapped[str] = mapped_column(primary_key=True)
    """What the stage makes: ``<kind>/<artifact id>``."""
    title: Mapped[str]
    state: Mapped[str]
    """waiting, running, done or failed."""
    sequence: Mapped[int]
    """Order within its pipeline."""
    pipeline: Mapped[str]
    """``demo`` or the command that the stage belongs to."""
    done: Mapped[float]
    total: Mapped[float]
    unit: Mapped[str]
    message: Mapped[str]
    host: Mapped[str | None]
    """The machine that works on it; ``process_id`` is a process there."""
    process_id: Mapped[int | None]
    started_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    """Also the heartbeat: a running stage whose row is older than a minute has lost its process."""
