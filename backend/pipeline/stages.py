"""The stages: each makes one artifact from others, puts it into the catalogue, and is a no-op the second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from backend.core.artifacts import artifact_id, read_manifest
from backend.core.errors import UserError
from backend.core.files import read_jsonl
from backend.core.left_out import LeftOut
from backend.core.records import Passage
from backend.core.tokenizer import TextTokenizer
from backend.corpora.artifact import build_query_set, wrong_predictions
from backend.embeddings.artifact import Embeddings, build_embeddings
from backend.embeddings.embedder import Embedder
from backend.embeddings.opening import open_embedder
from backend.gradients.build import (
    EncodableModel,
    EncodeConfig,
    build_passage_store,
    build_query_store,
)
from backend.gradients.examples import Example
from backend.gradients.projections import ProjectionConfig, projection_kind
from backend.gradients.store import GradientStore
from backend.methods.protocol import (
    EvaluationQueries,
    MethodInputs,
    looks_at_model,
    needed_embedding,
    store_projection,
)
from backend.methods.registry import find_method
from backend.models.generation import GenerationConfig, generate_outputs
from backend.models.loading import LoadedModel, load_model, resolve_device
from backend.models.training import TrainingConfig, model_identity, train
from backend.models.training_estimate import estimate_training
from backend.pipeline.ranking import rank
from backend.pipeline.workspace import Workspace

SPOOL_BYTES = 6
"""Bytes on disk of a score while a run is made: float32 in the spool, float16 in the matrix that is kept."""

Report = Callable[[float, float, str], None]
"""(done, total, message): how far a stage is."""


@dataclass(frozen=True)
class Subject:
    """What a run is about: queries, their corpus, and (for methods that look at one) a model with its store."""

    corpus_id: str
    query_set_id: str
    model_id: str | None = None
    store_id: str | None = None


def train_model(
    work: Workspace,
    corpus_id: str,
    config: TrainingConfig,
    report: Report,
    left_out: LeftOut | None = None,
    command: str = "proponent train",
) -> str:
    """Train a model from scratch on a corpus's passages (all, or all but some); says first what that will take."""
    torch.set_num_threads(work.threads)
    device = str(resolve_device(work.settings.device))
    passages = work.passages(corpus_id)
    folder = work.home.folder("model", artifact_id("model", *model_identity(corpus_id, config, left_out)))
    if not folder.exists():
        report(0, 0, "estimating time, disk and memory")
        seen = passages if left_out is None else left_out.rest(passages)
        tokenizer = None if left_out is None else TextTokenizer.load(work.folder("model", left_out.base))
        estimate = estimate_training(seen, config, device=device, tokenizer=tokenizer)
        work.reporter.say(
            f"{estimate.parameters:,} parameters, {config.epochs} epochs of {estimate.tokens:,} tokens: about "
            f"{estimate.seconds:.0f} s, {estimate.disk_bytes / 1e6:,.0f} MB on disk, "
            f"{estimate.memory_bytes / 1e9:.1f} GB of memory."
        )
        if estimate.truncated:
            work.reporter.say(
                f"{estimate.truncated} passages are longer than {config.architecture.context} tokens: the model "
                "is trained on their beginning."
            )
        work.require_disk(estimate.disk_bytes)
    model_id = train(work.home, corpus_id, passages, config, report, device=device, command=command, left_out=left_out)
    work.catalogue("model", model_id)
    return model_id


def answer_queries(work: Workspace, model_id: str, query_set_id: str, config: GenerationConfig, report: Report) -> str:
    """Let a model answer every query of a set."""
    torch.set_num_threads(work.threads)
    queries = work.queries(query_set_id)
    outputs_id = generate_outputs(
        work.home, model_id, query_set_id, queries, config, report, device=work.settings.device
    )
    work.catalogue("outputs", outputs_id)
    return outputs_id


def make_wrong_predictions(work: Workspace, outputs_id: str) -> str | None:
    """A query set of the facts that a model got wrong, its wrong answer as completion; None if it got all right."""
    inputs = read_manifest(work.folder("outputs", outputs_id)).inputs
    query_set_id, model_id = str(inputs["queries"]), inputs["model"]
    base = read_manifest(work.folder("queries", query_set_id))
    corpus_id = str(base.inputs["corpus"])
    outputs = list(read_jsonl(work.folder("outputs", outputs_id) / "outputs.jsonl"))
    wrong = wrong_predictions(work.queries(query_set_id), outputs)
    if not wrong:
        return None
    wrong_set_id = build_query_set(
        work.home, corpus_id, wrong, f"{base.config['name']}: wrong predictions", model_id, outputs_id
    )
    work.catalogue("queries", wrong_set_id)
    return wrong_set_id


def encode_passages(work: Workspace, model_id: str, corpus_id: str, config: EncodeConfig, report: Report) -> str:
    """Store the projected gradients of a whole corpus, both row sets in one pass."""
    torch.set_num_threads(work.threads)

    def announce(estimate: str, disk_bytes: int) -> None:
        work.reporter.say(estimate)
        work.require_disk(disk_bytes)

    return build_passage_store(
        work.home,
        model_id,
        lambda: encodable_model(work, model_id),
        corpus_id,
        lambda: _passage_examples(work, model_id, corpus_id),
        config,
        report,
        announce,
    )


def encode_queries(work: Workspace, model_id: str, query_set_id: str, store_id: str) -> str:
    """Store the projected gradients of a query set, with the projections of a passage store."""
    settings = read_manifest(work.folder("store", store_id)).config
    config = EncodeConfig(
        projection=ProjectionConfig.of_store(settings),
        max_batch_tokens=settings["max_batch_tokens"],
        shard_tokens=settings["shard_tokens"],
        dtype="float32",
    )
    return build_query_store(
        work.home,
        model_id,
        lambda: encodable_model(work, model_id),
        query_set_id,
        lambda: _query_examples(work, model_id, query_set_id),
        store_id,
        config,
    )


def rank_passages(work: Workspace, slug: str, subject: Subject, report: Report) -> str:
    """Rank a corpus by one method for a query set, and load the run into the catalogue."""
    torch.set_num_threads(work.threads)
    method = find_method(slug)
    passages, queries = work.passages(subject.corpus_id), work.queries(subject.query_set_id)
    work.require_disk(len(passages) * len(queries) * SPOOL_BYTES)
    inputs, query_store = MethodInputs(passages), None
    if method.row_set is not None:
        inputs, query_store = _with_stores(work, passages, subject, store_projection(method))
    embedding = needed_embedding(method)
    if embedding is not None:
        inputs = replace(inputs, embeddings=_embedded(work, embedding, subject, report))
    run_id = rank(
        work.home,
        method,
        inputs,
        queries,
        query_store,
        corpus_id=subject.corpus_id,
        query_set_id=subject.query_set_id,
        model_id=subject.model_id if looks_at_model(method) else None,
        progress=report,
    )
    report(0, 0, "loading into the catalogue")
    work.catalogue("run", run_id)
    return run_id


def _with_stores(
    work: Workspace, passages: Sequence[Passage], subject: Subject, projection: str
) -> tuple[MethodInputs, GradientStore]:
    """The inputs with passage store and queries behind R_eval; and the query store, encoded now if it is missing."""
    if subject.model_id is None or subject.store_id is None:
        raise UserError("This method needs a model and its gradient store.", "Run `proponent encode` first.")
    kind = projection_kind(read_manifest(work.folder("store", subject.store_id)).config)
    if kind != projection:
        raise UserError(
            f"This method reads a store with {projection} projections; those of store {subject.store_id} are {kind}.",
            f"Run `proponent encode --projection {projection}`.",
        )
    base_id = _base_query_set(work, subject.query_set_id)
    stores = {
        query_set_id: GradientStore.open(
            work.home, encode_queries(work, subject.model_id, query_set_id, subject.store_id)
        )
        for query_set_id in {subject.query_set_id, base_id}
    }
    inputs = MethodInputs(
        passages,
        GradientStore.open(work.home, subject.store_id),
        EvaluationQueries.of_facts(base_id, stores[base_id], work.queries(base_id)),
    )
    return inputs, stores[subject.query_set_id]


def _embedded(work: Workspace, embedding: str, subject: Subject, report: Report) -> Embeddings:
    """The passages' embeddings, made now if they are missing."""

    def model() -> LoadedModel:
        return load_model(work.home, subject.model_id or "", device=work.settings.device)

    def opened() -> Embedder:
        return open_embedder(embedding, model, str(resolve_device(work.settings.device)))

    embeddings_id = build_embeddings(
        work.home,
        embedding,
        subject.corpus_id,
        subject.model_id,
        lambda: work.passages(subject.corpus_id),
        opened,
        report,
    )
    return Embeddings.open(work.home, embeddings_id, opened)


def _base_query_set(work: Workspace, query_set_id: str) -> str:
    """The set itself, or for wrong predictions the set whose queries were answered wrongly."""
    outputs_id = read_manifest(work.folder("queries", query_set_id)).inputs.get("outputs")
    if outputs_id is None:
        return query_set_id
    return str(read_manifest(work.folder("outputs", outputs_id)).inputs["queries"])


def _passage_examples(work: Workspace, model_id: str, corpus_id: str) -> tuple[list[Example], list[str]]:
    passages = work.passages(corpus_id)
    tokenizer = TextTokenizer.load(work.folder("model", model_id))
    encoded = tokenizer.encode_passages(passage.text for passage in passages)
    examples = [Example(p.id, e.ids, 1) for p, e in zip(passages, encoded, strict=True)]
    truncated = [p.id for p, e in zip(passages, encoded, strict=True) if e.truncated]
    if truncated:
        work.reporter.say(
            f"{len(truncated)} passages are longer than {tokenizer.tokenization.context} tokens: only their "
            f"beginning is encoded (first: {truncated[0]!r})."
        )
    return examples, truncated


def _query_examples(work: Workspace, model_id: str, query_set_id: str) -> list[Example]:
    tokenizer = TextTokenizer.load(work.folder("model", model_id))
    encoded = [(query.id, tokenizer.encode_named(query)) for query in work.queries(query_set_id)]
    return [Example(query_id, query.ids, query.first_target) for query_id, query in encoded]


def encodable_model(work: Workspace, model_id: str) -> EncodableModel:
    """A model as the encoder takes it."""
    return EncodableModel.of(load_model(work.home, model_id, device=work.settings.device))
