"""The causal check on the spot: tail-patch of a list's first passages, beside a random passage and BM25's first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine as Database
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalogue.database import read_session
from backend.catalogue.models import Corpus, Passage, QuerySet
from backend.catalogue.runs import current_runs
from backend.catalogue.withheld import whole_text
from backend.core.errors import UserError
from backend.core.records import Query
from backend.jobs.engine import Engine
from backend.jobs.queue import Claimed
from backend.jobs.records import RunRecord
from backend.jobs.results import first_passages, prompt_of, run_record, write_tail_patch


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured for a list."""

    run_id: str
    prompt_pk: int
    changes: dict[int, float]
    """Rank -> change of the completion's probability, in percentage points."""
    result: dict[str, Any]

    def write(self, session: Session) -> None:
        """Put the changes beside their passages."""
        write_tail_patch(session, self.run_id, self.prompt_pk, self.changes)


def measure(database: Database, engine: Engine, job: Claimed, progress: Callable[[float], None]) -> Measured:
    """Take one training step on each passage of a list alone, and see what it does to the completion.

    Raises UserError where the list is not there (any more).
    """
    run_id, model_id, slug = job.run_id or "", job.model_id or "", job.parameters["slug"]
    with read_session(database) as session:
        prompt = prompt_of(session, slug)
        listed = first_passages(session, run_id, slug, job.parameters["k"])
        if prompt is None or not listed:
            raise UserError("There is no list of passages to measure.", "Ask the question first.")
        query = Query(slug, prompt.task, prompt.prompt, prompt.completion)
        random_id, random_text = _random_passage(session, run_record(session, run_id), slug)
        bm25 = _bm25_first(session, engine, prompt.query_set_id, query)
        prompt_pk = prompt.pk
    patch, tokenizer = engine.patch(model_id), engine.model(model_id).tokenizer
    encoded = tokenizer.encode_query(query.prompt, query.completion)
    beside = {"random": (random_id, random_text)} | ({"bm25": bm25} if bm25 is not None else {})
    total = len(listed) + len(beside)

    def change(done: int, text: str) -> float:
        progress(done / total)
        return patch.changes(tokenizer.encode_passage(text).ids, [encoded])[0]

    changes = {rank: change(place, text) for place, (rank, _, text) in enumerate(listed)}
    compared = {
        name: {"passage_id": passage_id, "tail_patch": change(len(listed) + place, text)}
        for place, (name, (passage_id, text)) in enumerate(beside.items())
    }
    facts = patch.facts
    result = {
        "k": job.parameters["k"],
        "measured": len(changes),
        "mean": sum(changes.values()) / len(changes),
        "base_probability": patch.probability(encoded),
        "random": compared["random"],
        "bm25": compared.get("bm25"),
        "step": {name: facts[name] for name in ("optimizer", "learning_rate", "state")},
    }
    return Measured(run_id, prompt_pk, changes, result)


def _random_passage(session: Session, run: RunRecord, slug: str) -> tuple[str, str]:
    """(id, text) of a passage drawn by the question's slug: the same every time."""
    passages = session.get_one(Corpus, run.corpus_id).passage_count
    draw = int.from_bytes(hashlib.sha256(f"random/{slug}".encode()).digest()[:8], "little") % passages
    statement = select(Passage.passage_id, whole_text())
    row = session.execute(statement.where(Passage.corpus_id == run.corpus_id, Passage.position == draw)).one()
    return row[0], row[1]


def _bm25_first(session: Session, engine: Engine, asked_set: str, query: Query) -> tuple[str, str] | None:
    """(id, text) of BM25's first passage for a question; None where BM25 has no run or finds nothing."""
    base = session.get_one(QuerySet, asked_set).asked_of or asked_set
    run = next((run for run in current_runs(session, base) if run.method == "bm25"), None)
    if run is None:
        return None
    stored = first_passages(session, run.id, query.id, 1)
    if stored:
        return stored[0][1], stored[0][2]
    found = engine.first_passage(engine.run(run_record(session, run.id)), query)
    return None if found is None else (found.id, found.text)
