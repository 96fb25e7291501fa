"""Corpora and query sets as artifacts: sealed once, loaded many times, made again as a no-op."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import CorruptArtifact, InputError
from backend.core.files import canonical_json, read_jsonl, write_jsonl
from backend.core.records import TASKS, Aliases, Passage, Query
from backend.core.text import join_query
from backend.corpora.near_duplicates import SHINGLE_WORDS, THRESHOLD, with_groups

PASSAGES_FILE = "passages.jsonl"
QUERIES_FILE = "queries.jsonl"


def build_corpus(
    home: Home,
    passages: Sequence[Passage],
    *,
    name: str,
    reader_config: Mapping[str, Any] | None = None,
    command: str = "proponent corpus import",
) -> str:
    """Group near-duplicates, write ``corpora/<id>/passages.jsonl`` and seal it; returns the artifact's id.

    The id is the hash of the passages, the name and the reader's settings. A no-op where that corpus is
    finished. A ``group`` that a passage already has is set anew. Raises InputError for an empty corpus or a
    repeated id.
    """
    _check_ids("passage", passages)
    started = time.monotonic()
    ungrouped = [replace(passage, group=None) for passage in passages]
    config = {
        "name": name,
        "reader": dict(reader_config or {}),
        "near_duplicates": {"shingle_words": SHINGLE_WORDS, "threshold": THRESHOLD},
        "content": _content_hash(_passage_row(passage) for passage in ungrouped),
    }
    identifier = artifact_id("corpus", {}, config)
    folder = home.folder("corpus", identifier)
    if is_finished(folder):
        return identifier
    grouped = with_groups(ungrouped)
    with _fresh(folder):
        write_jsonl(folder / PASSAGES_FILE, (_passage_row(passage) for passage in grouped))
        seal(
            folder,
            kind="corpus",
            inputs={},
            config=config,
            facts={
                "passages": len(grouped),
                "sources": dict(sorted(Counter(passage.source for passage in grouped).items())),
                "near_duplicate_groups": len({passage.group for passage in grouped} - {None}),
            },
            seconds=time.monotonic() - started,
            command=command,
        )
    return identifier


def load_passages(home: Home, corpus_id: str) -> list[Passage]:
    """The passages of a corpus, in order of position; raises MissingArtifact or CorruptArtifact."""
    path = home.find("corpus", corpus_id) / PASSAGES_FILE
    return [_record(Passage, row, path) for row in _rows(path)]


def build_query_set(
    home: Home,
    corpus_id: str,
    queries: Sequence[Query],
    name: str,
    model: str | None = None,
    outputs: str | None = None,
    command: str = "proponent corpus import",
) -> str:
    """Write ``query_sets/<id>/queries.jsonl`` and seal it; returns the artifact's id. A no-op where it is
    finished.

    ``model`` and ``outputs`` are the artifacts that the queries were made of, for wrong predictions. Raises
    InputError for an empty set, a repeated id, or an ``entails`` that names a passage not in the corpus;
    MissingArtifact where the corpus is not finished.
    """
    _check_ids("query", queries)
    home.find("corpus", corpus_id)
    started = time.monotonic()
    inputs = {"corpus": corpus_id, "model": model, "outputs": outputs}
    config = {"name": name, "content": _content_hash(asdict(query) for query in queries)}
    identifier = artifact_id("queries", inputs, config)
    folder = home.folder("queries", identifier)
    if is_finished(folder):
        return identifier
    known = {passage.id for passage in load_passages(home, corpus_id)}
    for query in queries:
        for passage in query.entails or ():
            if passage not in known:
                raise InputError(
                    f"Query {query.id!r}: 'entails' names passage {passage!r}, not in the corpus.",
                    f"Give the corpus that the queries were written for; this is {corpus_id}.",
                )
    by_task = Counter(query.task for query in queries)
    with _fresh(folder):
        write_jsonl(folder / QUERIES_FILE, (asdict(query) for query in queries))
        seal(
            folder,
            kind="queries",
            inputs=inputs,
            config=config,
            facts={
                "queries": len(queries),
                "by_task": {task: by_task[task] for task in TASKS if by_task[task]},
            },
            seconds=time.monotonic() - started,
            command=command,
        )
    return identifier


def load_queries(home: Home, query_set_id: str) -> list[Query]:
    """The queries of a set, in order of position; raises MissingArtifact or CorruptArtifact."""
    path = home.find("queries", query_set_id) / QUERIES_FILE
    queries = []
    for row in _rows(path):
        try:
            row["aliases"] = Aliases(tuple(row["aliases"]["subject"]), tuple(row["aliases"]["object"]))
            row["entails"] = None if row["entails"] is None else tuple(row["entails"])
        except (KeyError, TypeError) as error:
            raise _corrupt(path, error) from error
        queries.append(_record(Query, row, path))
    return queries


def wrong_predictions(queries: Sequence[Query], outputs: Sequence[Mapping[str, Any]]) -> list[Query]:
    """The fact queries that a model answers wrongly, with its wrong answer as the completion.

    ``outputs`` are rows of ``outputs.jsonl`` (``id``, ``text``, ``correct``). The new object is the wrong
    answer without white space around it. ``entails`` is None: a passage that holds the subject and the wrong
    object mostly states another relation between them, which is no statement of what the model said. Answers
    without any letter or digit are left out.
    """
    by_id = {output["id"]: output for output in outputs}
    wrong = []
    for query in queries:
        output = by_id.get(query.id)
        if query.task != "facts" or output is None or output["correct"] is not False:
            continue
        text = str(output["text"])
        answer = text.strip()
        if not any(character.isalnum() for character in answer):
            continue
        wrong.append(
            replace(
                query,
                id=f"{query.id}-wrong",
                task="wrong-predictions",
                completion=_completion(query.prompt, answer),
                object=answer,
                aliases=Aliases(subject=query.aliases.subject),
                entails=None,
            )
        )
    return wrong


def _completion(prompt: str, answer: str) -> str:
    """An answer that begins with a sign is not given a space when joined: it brings its own."""
    joined, boundary = join_query(prompt, answer)
    return answer if prompt[-1:].isspace() or joined[boundary : boundary + 1] == " " else f" {answer}"


def _passage_row(passage: Passage) -> dict[str, Any]:
    return asdict(passage)


def _content_hash(rows: Iterator[dict[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()


def _check_ids(what: str, records: Sequence[Passage] | Sequence[Query]) -> None:
    if not records:
        raise InputError(f"There is no {what} to store.", f"Give at least one {what}.")
    repeated = [identifier for identifier, count in Counter(r.id for r in records).items() if count > 1]
    if repeated:
        raise InputError(f"{what.capitalize()} id {repeated[0]!r} occurs twice.", "Give every one its own id.")


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """An error on the way takes the unfinished folder with it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not is_finished(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from read_jsonl(path)
    except (ValueError, OSError) as error:
        raise _corrupt(path, error) from error


def _record(kind: Any, row: dict[str, Any], path: Path) -> Any:
    try:
        return kind(**row)
    except TypeError as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: Exception) -> CorruptArtifact:
    return CorruptArtifact(f"{path} cannot be read ({error}).", "Delete its folder and make it again.")
