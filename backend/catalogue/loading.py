"""Loading finished artifacts into the catalogue.

Each function reads one folder (docs/architecture.md has the formats) within the caller's transaction, returns
True if it loaded and False if the artifact was there already, and needs its inputs loaded first.
A transaction that fails, or a process that dies, leaves nothing behind, so a later load starts anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, bindparam, select, update
from sqlalchemy.orm import Session

from backend.catalogue.annotated import count_annotations
from backend.catalogue.artifact_reader import ArtifactReader, optional_text, text_of
from backend.catalogue.database import write_session
from backend.catalogue.indexes import load_index
from backend.catalogue.left_out import LEFT_OUT
from backend.catalogue.loading_runs import load_run
from backend.catalogue.loading_steps import insert_rows, is_loaded, require_loaded
from backend.catalogue.measurements import load_measurement
from backend.catalogue.models import (
    Corpus,
    Entailment,
    Model,
    Output,
    OutputSet,
    Passage,
    Prompt,
    QuerySet,
)
from backend.catalogue.patches import load_patches
from backend.catalogue.prompt_summaries import summarize_prompts
from backend.catalogue.search import search_text_of
from backend.catalogue.withheld import withhold_private_sources
from backend.core.artifacts import Home, read_manifest
from backend.core.errors import CorruptArtifact, MissingArtifact
from backend.core.left_out import LIST, is_of_part
from backend.core.metrics import frequency_bucket
from backend.core.text import slugify

__all__ = ["load_corpus", "load_home", "load_model", "load_outputs", "load_patches", "load_query_set", "load_run"]

BATCH = 5_000
"""Rows a statement: bounds the memory that loading takes."""


def load_corpus(session: Session, folder: Path) -> bool:
    """Load a corpus and its passages."""
    artifact = ArtifactReader(folder, "corpus")
    if is_loaded(session, Corpus, artifact.id):
        return False
    expected = artifact.manifest.facts.get("passages")
    corpus = {**artifact.columns(), "name": artifact.setting("name"), "passage_count": expected or 0}
    insert_rows(session, Corpus, [corpus])
    count = 0
    for batch in _batches(_passage_rows(artifact)):
        insert_rows(session, Passage, batch)
        count += len(batch)
    if expected is None:
        session.execute(update(Corpus).where(Corpus.id == artifact.id).values(passage_count=count))
    elif expected != count:
        raise artifact.corrupt("passages.jsonl", f"it has {count} passages, its manifest says {expected}")
    withhold_private_sources(session, artifact.id)
    return True


def _passage_rows(artifact: ArtifactReader) -> Iterator[dict[str, Any]]:
    seen = set()
    for position, row in artifact.rows("passages.jsonl"):
        try:
            passage = {
                "corpus_id": artifact.id,
                "position": position,
                "passage_id": text_of(row, "id"),
                "text": text_of(row, "text"),
                "source": optional_text(row, "source") or "",
                "title": optional_text(row, "title"),
                "url": optional_text(row, "url"),
                "license": optional_text(row, "license"),
                "content_hash": hashlib.sha256(row["text"].encode()).hexdigest(),
                "near_duplicates": optional_text(row, "group"),
            }
        except (KeyError, TypeError) as error:
            raise _bad_line(artifact, "passages.jsonl", position, error) from error
        if passage["passage_id"] in seen:
            raise _bad_line(artifact, "passages.jsonl", position, "the id occurs twice")
        seen.add(passage["passage_id"])
        yield passage


def load_query_set(session: Session, folder: Path) -> bool:
    """Load a query set: its prompts, each with a slug of its own, and the passages that entail them."""
    artifact = ArtifactReader(folder, "queries")
    if is_loaded(session, QuerySet, artifact.id):
        return False
    corpus_id, model_id = artifact.required_input("corpus"), artifact.input("model")
    require_loaded(session, Corpus, corpus_id, artifact)
    if model_id is not None:
        require_loaded(session, Model, model_id, artifact)
    row = {
        **artifact.columns(),
        "name": artifact.setting("name"),
        "corpus_id": corpus_id,
        "model_id": model_id,
    }
    insert_rows(session, QuerySet, [row])

    slug_for = _slug_giver(session, artifact.id)
    entails: list[list[str]] = []
    for batch in _batches(_prompt_rows(artifact, slug_for, entails)):
        insert_rows(session, Prompt, batch)

    count_annotations(session, Prompt.query_set_id == artifact.id)
    prompt_pks = list(session.scalars(select(Prompt.pk).filter_by(query_set_id=artifact.id).order_by(Prompt.position)))
    statement = select(Passage.passage_id, Passage.pk).filter_by(corpus_id=corpus_id)
    passage_pks = {passage_id: pk for passage_id, pk in session.execute(statement)}
    for batch in _batches(_entailment_rows(artifact, entails, prompt_pks, passage_pks)):
        insert_rows(session, Entailment, batch)
    return True


def _prompt_rows(
    artifact: ArtifactReader, slug_for: Callable[[str], str], entails: list[list[str]]
) -> Iterator[dict[str, Any]]:
    """The prompts' rows; appends each query's entailing passage ids to ``entails``."""
    seen = set()
    for position, row in artifact.rows("queries.jsonl"):
        try:
            query_id = text_of(row, "id")
            stating = None if row.get("entails") is None else list(dict.fromkeys(row["entails"]))
            # A query may say that more passages state it than its corpus holds: lists that were imported do.
            frequency = row.get("frequency", None if stating is None else len(stating))
            prompt: dict[str, Any] = {
                "query_set_id": artifact.id,
                "position": position,
                "query_id": query_id,
                "task": text_of(row, "task"),
                "prompt": text_of(row, "prompt"),
                "completion": text_of(row, "completion"),
                "relation": optional_text(row, "relation"),
                "subject": optional_text(row, "subject"),
                "object": optional_text(row, "object"),
                "aliases": dict(row.get("aliases") or {}),
                "frequency": frequency,
                "bucket": frequency_bucket(frequency),
                "extra": row.get("extra"),
            }
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_line(artifact, "queries.jsonl", position, error) from error
        if query_id in seen:
            raise _bad_line(artifact, "queries.jsonl", position, "the id occurs twice")
        seen.add(query_id)
        prompt["slug"] = slug_for(query_id)
        names = [name for known in prompt["aliases"].values() for name in known]
        parts = (prompt["prompt"], prompt["completion"], prompt["subject"], prompt["object"], prompt["relation"])
        prompt["search_text"] = search_text_of(*parts, *names)
        entails.append(stating or [])
        yield prompt


def _entailment_rows(
    artifact: ArtifactReader, entails: list[list[str]], prompt_pks: list[int], passage_pks: dict[str, int]
) -> Iterator[dict[str, int]]:
    for position, (prompt_pk, stating) in enumerate(zip(prompt_pks, entails, strict=True)):
        for passage_id in stating:
            if passage_id not in passage_pks:
                what = f"entails names {passage_id!r}, which the corpus does not hold"
                raise _bad_line(artifact, "queries.jsonl", position, what)
            yield {"prompt_pk": prompt_pk, "passage_pk": passage_pks[passage_id]}


RESERVED_SLUGS = frozenset({"random"})
"""Last parts of addresses below /prompts that are not a prompt's."""


def _slug_giver(session: Session, query_set_id: str) -> Callable[[str], str]:
    """A function from a query's id to a slug that is unique in the installation.

    The plain slug where it is free, then one with a part of the set's id, then with a hash of set and query.
    """
    taken = {*session.scalars(select(Prompt.slug)), *RESERVED_SLUGS}

    def give(query_id: str) -> str:
        plain = slugify(query_id) or "prompt"
        whole = hashlib.sha256(f"{query_set_id}/{query_id}".encode()).hexdigest()
        part_of_set = slugify(query_set_id.rpartition("-")[2])[:6]
        candidates = (plain, f"{plain}-{part_of_set}", f"{plain}-{whole[:8]}", f"{plain}-{whole}")
        slug = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(slug)
        return slug

    return give


def load_model(session: Session, folder: Path) -> bool:
    """Load a model's description; its weights stay in the folder."""
    artifact = ArtifactReader(folder, "model")
    if is_loaded(session, Model, artifact.id):
        return False
    corpus_id = artifact.input("corpus")
    if corpus_id is not None:
        require_loaded(session, Corpus, corpus_id, artifact)
    row = {
        **artifact.columns(),
        "name": artifact.setting("name"),
        "corpus_id": corpus_id,
        "parameter_count": int(artifact.manifest.facts.get("parameters") or 0),
        "training": _training(artifact),
    }
    insert_rows(session, Model, [row])
    return True


def _training(artifact: ArtifactReader) -> dict[str, Any] | None:
    """training.json, and beside it the passages that the model was trained without."""
    if not artifact.holds("training.json"):
        return None
    training: dict[str, Any] = artifact.json("training.json")
    if not is_of_part(artifact.manifest.config):
        return training
    return {**training, LEFT_OUT: artifact.file(LIST).read_text(encoding="utf-8").splitlines()}


def load_outputs(session: Session, folder: Path) -> bool:
    """Load a model's answers: greedy ones make the rows, samples are added to them.

    Where a newer artifact of the same model, query set and kind was loaded before, its answers stay.
    """
    artifact = ArtifactReader(folder, "outputs")
    if is_loaded(session, OutputSet, artifact.id):
        return False
    query_set_id, model_id = artifact.required_input("queries"), artifact.required_input("model")
    require_loaded(session, QuerySet, query_set_id, artifact)
    require_loaded(session, Model, model_id, artifact)
    kind = artifact.setting("kind")
    if kind not in ("greedy", "samples"):
        raise artifact.corrupt("MANIFEST.json", f"config.kind is {kind!r}, not greedy or samples")
    row = {**artifact.columns(), "query_set_id": query_set_id, "model_id": model_id, "kind": kind}
    newer = select(OutputSet.id).where(
        OutputSet.query_set_id == query_set_id,
        OutputSet.model_id == model_id,
        OutputSet.kind == kind,
        OutputSet.created_at > row["created_at"],
    )
    superseded = session.scalars(newer.limit(1)).first() is not None
    insert_rows(session, OutputSet, [row])
    if not superseded:
        _write_outputs(session, artifact, query_set_id, model_id, kind)
        summarize_prompts(session, query_set_id)
    return True


def _write_outputs(session: Session, artifact: ArtifactReader, query_set_id: str, model_id: str, kind: str) -> None:
    statement = select(Prompt.query_id, Prompt.pk).filter_by(query_set_id=query_set_id)
    prompt_pks = {query_id: pk for query_id, pk in session.execute(statement)}
    known = set(
        session.scalars(
            select(Output.prompt_pk)
            .join(Prompt)
            .filter_by(query_set_id=query_set_id)
            .where(Output.model_id == model_id)
        )
    )
    fresh, changed = [], []
    for position, row in artifact.rows("outputs.jsonl"):
        try:
            prompt_pk = prompt_pks[text_of(row, "id")]
            values = _answer(row) if kind == "greedy" else {"samples": _samples(row)}
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_line(artifact, "outputs.jsonl", position, error) from error
        if prompt_pk in known:
            changed.append({"of_prompt": prompt_pk, "of_model": model_id, **values})
        else:
            fresh.append({"prompt_pk": prompt_pk, "model_id": model_id, "samples": [], **values})
    if fresh and kind == "samples":
        raise MissingArtifact(
            f"The samples {artifact.id} belong to greedy outputs that are not in the catalogue.",
            "Make and load the greedy outputs of this model and query set first.",
        )
    insert_rows(session, Output, fresh)
    if changed:
        of_row = (Output.prompt_pk == bindparam("of_prompt"), Output.model_id == bindparam("of_model"))
        session.connection().execute(update(Output).where(*of_row), changed)


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    correct = row.get("correct")
    return {
        "text": text_of(row, "text"),
        "probability": _optional_float(row["probability"]),
        "completion_probability": _optional_float(row["completion_probability"]),
        "correct": None if correct is None else bool(correct),
    }


def _samples(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"text": text_of(one, "text"), "probability": _optional_float(one["probability"])} for one in row["samples"]
    ]


def _optional_float(value: float | None) -> float | None:
    return None if value is None else float(value)


def load_home(engine: Engine, home: Home) -> list[str]:
    """Load every finished artifact of a home that is not loaded yet, each in its own transaction.

    Returns ``<kind>/<id>`` of what was loaded; this is how a lost catalogue is built again.
    """
    loaded = []
    for kind, load in LOADERS.items():
        folders = [home.folder(kind, artifact_id) for artifact_id in home.finished(kind)]
        if kind == "outputs":  # samples are added to greedy outputs
            folders.sort(key=lambda folder: read_manifest(folder).config.get("kind") != "greedy")
        for folder in folders:
            with write_session(engine) as session:
                if load(session, folder):
                    loaded.append(f"{kind}/{folder.name}")
    return loaded


LOADERS: dict[str, Callable[[Session, Path], bool]] = {
    "corpus": load_corpus,
    "model": load_model,
    "queries": load_query_set,
    "outputs": load_outputs,
    "run": load_run,
    "patches": load_patches,
    "measurement": load_measurement,
    "index": load_index,
}
"""Kind of artifact -> its loader, each kind after those that it needs."""


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _bad_line(artifact: ArtifactReader, name: str, position: int, reason: object) -> CorruptArtifact:
    what = f"{reason} is missing or unknown" if isinstance(reason, KeyError) else str(reason)
    return artifact.corrupt(f"{name}, line {position + 1}", what)
