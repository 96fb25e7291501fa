"""The artifacts that imported lists become: a corpus of what is listed, queries, the model's answers, runs.

Each says in its manifest that it was imported (``config.imported``). Like all artifacts they are sealed once and made
again as a no-op; an error or a kill leaves no finished one.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.catalogue.loading_runs import IMPORTED
from backend.core.artifacts import Home, Manifest, artifact_id, is_finished, seal
from backend.core.errors import CorruptArtifact
from backend.core.files import canonical_json, read_jsonl, save_array, write_json, write_jsonl
from backend.core.records import TASKS, Aliases, Query

VIEWER = "viewer"
"""The value of ``config.imported`` of what came from the files of the paper's result viewer."""

QUERY_FIELDS = ("id", "task", "prompt", "completion", "relation", "subject", "object")


def is_imported(manifest: Manifest) -> bool:
    """True if an artifact holds what somebody else computed: lists, answers, and the passages that they name."""
    return IMPORTED in manifest.config


def write_corpus(home: Home, name: str, ids: Sequence[str], texts: Sequence[str], command: str) -> str:
    """A corpus of the listed passages; passages of equal text are a group. Returns its id."""
    first: dict[str, str] = {}
    for passage_id, text in zip(ids, texts, strict=True):
        first.setdefault(text, passage_id)
    copied = {text for text, count in Counter(texts).items() if count > 1}

    def rows() -> Iterable[dict[str, Any]]:
        for passage_id, text in zip(ids, texts, strict=True):
            yield {
                "id": passage_id,
                "text": text,
                "source": name,
                "title": None,
                "url": None,
                "license": None,
                "group": first[text] if text in copied else None,
            }

    return _sealed(
        home,
        "corpus",
        inputs={},
        config={"name": name, IMPORTED: VIEWER, "near_duplicates": "equal texts", "content": _content_hash(rows())},
        facts={"passages": len(ids), "sources": {name: len(ids)}, "near_duplicate_groups": len(copied)},
        command=command,
        write=lambda folder: write_jsonl(folder / "passages.jsonl", rows()),
    )


def write_query_set(home: Home, name: str, corpus_id: str, rows: Sequence[Mapping[str, Any]], command: str) -> str:
    """A query set of these rows, which hold a query's fields and ``frequency`` and ``extra``. Returns its id."""
    by_task = Counter(row["task"] for row in rows)
    return _sealed(
        home,
        "queries",
        inputs={"corpus": corpus_id, "model": None, "outputs": None},
        config={"name": name, IMPORTED: VIEWER, "content": _content_hash(rows)},
        facts={"queries": len(rows), "by_task": {task: by_task[task] for task in TASKS if by_task[task]}},
        command=command,
        write=lambda folder: write_jsonl(folder / "queries.jsonl", rows),
    )


def write_model(home: Home, name: str, command: str) -> str:
    """What stands for the model whose answers were imported: a name, no weights, no tokenizer. Returns its id."""
    return _sealed(
        home,
        "model",
        inputs={"corpus": None},
        config={"name": f"{name}: imported answers", IMPORTED: VIEWER, "weights": False},
        facts={"parameters": None, "tokens": None, "accuracy": None},
        command=command,
        write=lambda folder: None,
    )


def write_outputs(
    home: Home, kind: str, model_id: str, query_set_id: str, rows: Sequence[Mapping[str, Any]], command: str
) -> str:
    """Imported answers (kind ``greedy``) or samples (``samples``). Returns the artifact's id."""
    return _sealed(
        home,
        "outputs",
        inputs={"model": model_id, "queries": query_set_id},
        config={"kind": kind, IMPORTED: VIEWER, "content": _content_hash(rows)},
        facts={"queries": len(rows)},
        command=command,
        write=lambda folder: write_jsonl(folder / "outputs.jsonl", rows),
    )


def write_run(
    home: Home,
    method: str,
    inputs: Mapping[str, str | None],
    file: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    query_facts: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    command: str,
) -> str:
    """A run of imported lists: positions and scores, nothing about passages that are not listed. Returns its id.

    ``file`` says what was read: its name and SHA-256.
    """

    def write(folder: Path) -> None:
        for name, array in arrays.items():
            save_array(folder / f"{name}.npy", array)
        write_json(folder / "query_facts.json", query_facts)

    return _sealed(
        home,
        "run",
        inputs={**inputs, "store": None, "query_store": None},
        config={"method": method, IMPORTED: VIEWER, **file},
        facts=dict(facts),
        command=command,
        write=write,
        prefix=method,
    )


def load_imported_queries(home: Home, query_set_id: str) -> list[Query]:
    """The queries of an imported set, in order of position, without what only exports give back.

    Raises MissingArtifact or CorruptArtifact.
    """
    folder = home.find("queries", query_set_id)
    try:
        return [
            Query(
                **{field: row[field] for field in QUERY_FIELDS},
                aliases=Aliases(),
                entails=None if row["entails"] is None else tuple(row["entails"]),
            )
            for row in read_jsonl(folder / "queries.jsonl")
        ]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise CorruptArtifact(
            f"{folder / 'queries.jsonl'} cannot be read ({error}).", "Delete its folder and import its file again."
        ) from error


def _content_hash(rows: Iterable[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()


def _sealed(
    home: Home,
    kind: str,
    *,
    inputs: dict[str, str | None],
    config: dict[str, Any],
    facts: dict[str, Any],
    command: str,
    write: Callable[[Path], object],
    prefix: str = "",
) -> str:
    """Fill a folder and seal it; a no-op where that artifact is finished."""
    folder = home.folder(kind, artifact_id(kind, inputs, config, prefix))
    if is_finished(folder):
        return folder.name
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)  # what a kill left
    folder.mkdir(parents=True)
    try:
        write(folder)
        seal(
            folder,
            kind=kind,
            inputs=inputs,
            config=config,
            facts=facts,
            seconds=time.monotonic() - started,
            command=command,
        )
    except BaseException:
        if not is_finished(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder.name
