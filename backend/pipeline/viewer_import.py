"""`proponent import-viewer`: files of the TrackStar paper's result viewer become artifacts and catalogue rows.

All files are read and put together first; nothing is written before all of them are right.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.catalogue.loading_runs import LINE, STATED_ELSEWHERE
from backend.catalogue.viewer_export import CORE_FIELDS, FIELDS, LACKS
from backend.core.errors import UserError
from backend.core.files import sha256_of
from backend.corpora.viewer_file import read_viewer_file
from backend.pipeline import viewer_artifacts as artifacts
from backend.pipeline.viewer_mapping import (
    MODEL_FREE,
    Answer,
    answer_of,
    frequency_of,
    methods_of,
    name_of,
    stated_elsewhere,
    task_of,
)
from backend.pipeline.viewer_union import SIDES, Example, FileLists, ListedRecord, Union
from backend.pipeline.workspace import Workspace

REPORT_EVERY = 200
"""Records between two reports of progress."""


def import_viewer(work: Workspace, files: Sequence[Path], methods: Sequence[str], name: str | None) -> dict[str, Any]:
    """Import files over the same prompts, one method a file; returns the ids of what was made.

    Raises UserError where a file is malformed or the files contradict each other; then nothing is kept.
    """
    for path in files:
        if not _is_text(str(path)):
            raise UserError(f"The name of {str(path)!a} is no text in UTF-8.", "Rename the file.")
    slugs = methods_of(files, methods)
    label = name or name_of(files)
    options = [word for slug in slugs for word in ("--method", slug)]
    command = shlex.join(["proponent", "import-viewer", *map(str, files), *options, "--name", label])
    work.reporter.plan([("import-viewer", "Importing lists")])
    with work.reporter.stage("import-viewer", "records") as report:
        union = Union()
        for path, slug in zip(files, slugs, strict=True):
            lists = union.begin(path, slug)
            for record in read_viewer_file(path):
                union.add(lists, record)
                if len(lists.records) % REPORT_EVERY == 0:
                    report(len(lists.records), 0, f"reading {path.name}")
        for remark in union.remarks():
            work.reporter.say(remark)
        report(0, 0, "writing artifacts and loading them into the catalogue")
        return _write(work, union, label, command)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(work: Workspace, union: Union, name: str, command: str) -> dict[str, Any]:
    corpus_id = artifacts.write_corpus(work.home, name, union.ids, union.texts, command)
    work.catalogue("corpus", corpus_id)
    query_ids = union.query_ids()
    queries = [_query_row(union, *pair) for pair in zip(query_ids, union.examples, strict=True)]
    query_set_id = artifacts.write_query_set(work.home, name, corpus_id, queries, command)
    work.catalogue("queries", query_set_id)
    model_id, outputs = _write_answers(work, union, name, query_set_id, query_ids, command)
    runs = []
    for lists in union.files:
        inputs = {
            "corpus": corpus_id,
            "queries": query_set_id,
            "model": None if lists.method in MODEL_FREE else model_id,
        }
        run_id = artifacts.write_run(
            work.home,
            lists.method,
            inputs,
            {"file": lists.path.name, "sha256": sha256_of(lists.path)},
            _arrays(lists, len(union.examples)),
            [_query_facts(example, lists.records.get(index)) for index, example in enumerate(union.examples)],
            {"queries": len(union.examples), "records": len(lists.records)},
            command,
        )
        work.catalogue("run", run_id)
        runs.append({"run": run_id, "method": lists.method, "file": str(lists.path), "records": len(lists.records)})
    return {
        "corpus": corpus_id,
        "passages": len(union.ids),
        "query_set": query_set_id,
        "queries": len(union.examples),
        "model": model_id,
        "outputs": outputs,
        "runs": runs,
    }


def _query_row(union: Union, query_id: str, example: Example) -> dict[str, Any]:
    relation = example.fields.get("relation")
    return {
        "id": query_id,
        "task": task_of(example.fields, example.completion),
        "prompt": example.prompt,
        "completion": example.completion,
        "relation": relation if isinstance(relation, str) and relation else None,
        "subject": None,
        "object": None,
        "aliases": {"subject": [], "object": []},
        "entails": [union.ids[position] for position in example.stating] if example.judged else None,
        "frequency": frequency_of(example.fields),
        "extra": example.fields or None,
    }


def _write_answers(
    work: Workspace, union: Union, name: str, query_set_id: str, query_ids: Sequence[str], command: str
) -> tuple[str | None, list[str]]:
    """The model that stands for imported answers and the artifacts of these; (None, []) where there are none."""
    answers: list[tuple[str, Answer]] = []
    for query_id, example in zip(query_ids, union.examples, strict=True):
        answer = answer_of(example.fields, example.completion)
        if answer is not None:
            answers.append((query_id, answer))
    if not answers:
        return None, []
    model_id = artifacts.write_model(work.home, name, command)
    work.catalogue("model", model_id)
    greedy: list[dict[str, Any]] = [
        {
            "id": query_id,
            "text": answer.text,
            "probability": answer.confidence,
            "completion_probability": None,
            "correct": answer.correct,
            "samples": [],
        }
        for query_id, answer in answers
    ]
    samples: list[dict[str, Any]] = [
        {"id": query_id, "samples": [{"text": text, "probability": None} for text in answer.samples]}
        for query_id, answer in answers
        if answer.samples
    ]
    outputs = []
    for kind, rows in (("greedy", greedy), ("samples", samples)):
        if rows:
            outputs_id = artifacts.write_outputs(work.home, kind, model_id, query_set_id, rows, command)
            work.catalogue("outputs", outputs_id)
            outputs.append(outputs_id)
    return model_id, outputs


def _arrays(lists: FileLists, queries: int) -> dict[str, np.ndarray]:
    """Positions and scores of both sides, queries x the longest list."""
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        width = max((len(record.positions[side]) for record in lists.records.values()), default=0) or 1
        positions = np.full((queries, width), -1, np.int32)
        scores = np.zeros((queries, width), np.float64)
        for index, record in lists.records.items():
            positions[index, : len(record.positions[side])] = record.positions[side]
            scores[index, : len(record.scores[side])] = record.scores[side]
        arrays[f"{side}s.i32"], arrays[f"{side}_scores.f64"] = positions, scores
    return arrays


def _query_facts(example: Example, record: ListedRecord | None) -> dict[str, Any]:
    """What a run says of one query: nothing where its file had no record of it."""
    if record is None:
        return {}
    lacks = [name for name in (*CORE_FIELDS, *example.fields) if name not in record.keys]
    unseen = example.judged and not example.stating and stated_elsewhere(example.fields)
    return {
        LINE: record.line,
        **({STATED_ELSEWHERE: True} if unseen else {}),
        **({FIELDS: record.own} if record.own else {}),
        **({LACKS: lacks} if lacks else {}),
    }
