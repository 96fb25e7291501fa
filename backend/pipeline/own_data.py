"""The stages for a user's own corpus and model: import, train or load, encode, rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.core.artifacts import read_manifest
from backend.core.errors import UserError
from backend.core.left_out import is_of_part
from backend.pipeline.viewer_artifacts import is_imported
from backend.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from backend.models.training import TrainingConfig

IMPORT_FIRST = "Run `proponent corpus import PASSAGES --queries QUERIES` first."


def import_files(work: Workspace, passages: str, queries: Path | None, name: str | None) -> dict[str, Any]:
    """Read, check and import passages and queries; nothing is kept unless both are right."""
    from backend.corpora.artifact import build_corpus, build_query_set
    from backend.corpora.entailment import with_entailment
    from backend.corpora.readers import read_passages, read_queries

    work.reporter.plan([("import", "Importing")])
    with work.reporter.stage("import") as report:
        report(0, 0, "reading passages")
        read = read_passages(passages)
        asked = read_queries(queries, {passage.id for passage in read.passages}) if queries else None
        removed = read.removed_characters + (asked.removed_characters if asked else 0)
        if read.skipped_rows:
            work.reporter.say(f"{read.skipped_rows} rows without text were left out.")
        if removed:
            work.reporter.say(f"{removed} control characters were removed.")
        label = name or Path(passages).name
        report(0, 0, "grouping near-duplicates")
        corpus_id = build_corpus(work.home, read.passages, name=label)
        query_set_id = None
        if asked is not None:
            report(0, 0, "looking for the passages that state each fact")
            entailed = with_entailment(asked.queries, read.passages)
            query_set_id = build_query_set(work.home, corpus_id, entailed, label)
        report(0, 0, "loading into the catalogue")
        work.catalogue("corpus", corpus_id)
        if query_set_id is not None:
            work.catalogue("queries", query_set_id)
    return {
        "corpus": corpus_id,
        "passages": len(read.passages),
        "query_set": query_set_id,
        "queries": len(asked.queries) if asked else 0,
    }


def train_on(work: Workspace, corpus_id: str | None, config: TrainingConfig) -> dict[str, Any]:
    """Train a model on a corpus."""
    from backend.pipeline import stages

    corpus_id = corpus_id or work.newest("corpus", IMPORT_FIRST)
    work.reporter.plan([("train", "Training the model")])
    with work.reporter.stage("train", "tokens") as report:
        model_id = stages.train_model(work, corpus_id, config, report)
    facts = read_manifest(work.folder("model", model_id)).facts
    return {"model": model_id, "corpus": corpus_id, "parameters": facts["parameters"]}


def encode_corpus(
    work: Workspace,
    corpus_id: str | None,
    model: str | None,
    rank: int = 12,
    seed: int = 0,
    dtype: str = "float16",
    context: int | None = None,
    projection: str = "random",
) -> dict[str, Any]:
    """Store the gradients of a corpus under a model: one trained on it, or one that is loaded now."""
    from backend.gradients.build import EncodeConfig
    from backend.gradients.projections import PCA, ProjectionConfig
    from backend.pipeline import stages

    if projection == PCA and seed:
        raise UserError("--seed is of random projections; principal axes have none.", "Leave it out.")
    corpus_id = corpus_id or work.newest("corpus", IMPORT_FIRST)
    work.reporter.plan([("encode", "Storing the passages' gradients")])
    with work.reporter.stage("encode", "tokens") as report:
        model_id = _model_for(work, corpus_id, model, context)
        config = EncodeConfig(projection=ProjectionConfig(rank, seed, projection), dtype=dtype)
        store_id = stages.encode_passages(work, model_id, corpus_id, config, report)
    manifest = read_manifest(work.folder("store", store_id))
    return {
        "store": store_id,
        "model": model_id,
        "corpus": corpus_id,
        "projection": projection,
        "rows": manifest.facts["rows"],
        "dims": manifest.facts["dims"],
        "bytes": sum(file["bytes"] for file in manifest.files.values()),
    }


def rank_queries(
    work: Workspace,
    methods: Sequence[str],
    corpus_id: str | None,
    query_sets: Sequence[str] | None,
    model: str | None,
) -> list[dict[str, Any]]:
    """Rank for every query set of a corpus by every method; makes the model and the store that are missing."""
    from backend.embeddings.embedder import embedding_config
    from backend.methods.protocol import looks_at_model, needed_embedding, store_projection
    from backend.methods.registry import find_method
    from backend.models.generation import GenerationConfig
    from backend.models.training import TrainingConfig
    from backend.pipeline import stages

    chosen = [find_method(slug) for slug in methods]
    for name in filter(None, map(needed_embedding, chosen)):
        embedding_config(name)  # a package that is missing is said before anything is made
    corpus_id = corpus_id or work.newest("corpus", IMPORT_FIRST)
    sets = query_sets_of(work, corpus_id, query_sets)
    model_id, stores = None, {}
    if any(looks_at_model(method) for method in chosen):
        if model is None and not _models_of(work, corpus_id):
            work.reporter.say("No model yet: training one on the corpus (choose its size with `proponent train`).")
            model = train_on(work, corpus_id, TrainingConfig(name="trained here"))["model"]
        model_id = _model_for(work, corpus_id, model)
        for kind in dict.fromkeys(store_projection(method) for method in chosen if method.row_set is not None):
            stores[kind] = _newest_store(work, corpus_id, model_id, kind) or _encoded(work, corpus_id, model_id, kind)
    runs = []
    planned = [(f"rank/{method.slug}", f"Ranking by {method.slug}") for method in chosen]
    work.reporter.plan([*([("rank/answers", "Letting the model answer")] if model_id else []), *planned])
    if model_id is not None:
        with work.reporter.stage("rank/answers", "prompts") as report:
            for query_set_id in sets:
                stages.answer_queries(work, model_id, query_set_id, GenerationConfig(kind="greedy"), report)
    for method in chosen:
        with work.reporter.stage(f"rank/{method.slug}", "scores") as report:
            for query_set_id in sets:
                subject = stages.Subject(corpus_id, query_set_id, model_id, stores.get(store_projection(method)))
                run_id = stages.rank_passages(work, method.slug, subject, report)
                runs.append({"run": run_id, "method": method.slug, "corpus": corpus_id, "query_set": query_set_id})
    return runs


def query_sets_of(work: Workspace, corpus_id: str, chosen: Sequence[str] | None = None) -> list[str]:
    """The query sets of a corpus, or those chosen of them; raises UserError where there are none."""
    of_corpus = [
        query_set_id
        for query_set_id in work.home.finished("queries")
        if read_manifest(work.home.folder("queries", query_set_id)).inputs["corpus"] == corpus_id
    ]
    unknown = [query_set_id for query_set_id in chosen or () if query_set_id not in of_corpus]
    if unknown:
        raise UserError(f"Corpus {corpus_id} has no query set {unknown[0]!r}.", f"It has: {', '.join(of_corpus)}.")
    if not of_corpus:
        raise UserError(f"Corpus {corpus_id} has no queries yet.", IMPORT_FIRST)
    return list(chosen or of_corpus)


def _models_of(work: Workspace, corpus_id: str) -> list[str]:
    """Models trained on a whole corpus, and models that its stores were made with, oldest first.

    A model that was trained without some passages is no model of the corpus: who wants it names it.
    """
    stores = [read_manifest(work.home.folder("store", store_id)) for store_id in work.home.finished("store")]
    encoded_with = {store.inputs["model"] for store in stores if store.inputs["corpus"] == corpus_id}
    models = {model_id: read_manifest(work.home.folder("model", model_id)) for model_id in work.home.finished("model")}
    return [
        model_id
        for model_id, model in models.items()
        if (model_id in encoded_with or model.inputs["corpus"] == corpus_id) and not is_of_part(model.config)
    ]


def _model_for(work: Workspace, corpus_id: str, model: str | None, context: int | None = None) -> str:
    """Id of a model: given by id, loaded from a folder or hub now, or the newest of the corpus."""
    from backend.models.loading import register_model

    if model is None:
        known = _models_of(work, corpus_id)
        if not known:
            raise UserError(
                f"There is no model for corpus {corpus_id}.",
                "Run `proponent train`, or give a folder or hub name with --model.",
            )
        return known[-1]
    if model not in work.home.finished("model"):
        work.reporter.say(f"Loading {model} ...")
        model = register_model(work.home, model, context=context, command=f"proponent encode --model {model}")
    elif is_imported(read_manifest(work.folder("model", model))):
        raise UserError(
            f"Model {model} has no weights: it stands for answers that were imported.",
            "Run `proponent train`, or give another model with --model.",
        )
    work.catalogue("model", model)
    return model


def _newest_store(work: Workspace, corpus_id: str, model_id: str, kind: str) -> str | None:
    """The newest store of a corpus and model with projections of a kind."""
    from backend.gradients.projections import projection_kind

    for store_id in reversed(work.home.finished("store")):
        store = read_manifest(work.home.folder("store", store_id))
        of = store.inputs["corpus"], store.inputs["model"], projection_kind(store.config)
        if of == (corpus_id, model_id, kind):
            return store_id
    return None


def _encoded(work: Workspace, corpus_id: str, model_id: str, kind: str) -> str:
    return str(encode_corpus(work, corpus_id, model_id, projection=kind)["store"])
